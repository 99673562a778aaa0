"""Retrieval on a labelled set while training; it observes only, so the run is the same without it."""

from collections.abc import Callable
from dataclasses import dataclass

from upreid.config.training import MonitorConfig
from upreid.data.benchmarks import Benchmark, read_benchmark
from upreid.data.benchmarks.checkup import refuse_faults
from upreid.data.benchmarks.contents import refuse_unreadable
from upreid.errors import InputError
from upreid.models.encoder import Encoder
from upreid.retrieval.evaluation import evaluate_benchmark, result_line
from upreid.retrieval.features import encode_benchmark
from upreid.retrieval.settings import Ranking
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.runtime.distributed import World, from_lead


@dataclass(frozen=True, kw_only=True)
class RetrievalMonitor:
    """What is measured on the encoder, every so many steps."""

    every: int
    measure: Callable[[Encoder, int], dict[str, float] | None]
    """Called on all ranks with the encoder as it would be exported and the number of steps; rank 0 gets the numbers."""


def make_monitor(
    wanted: MonitorConfig,
    steps_per_epoch: int,
    compute: Compute,
    world: World,
    evaluated: tuple[Benchmark, Ranking] | None = None,
) -> RetrievalMonitor | None:
    """Return the retrieval on a labelled set that a run is watched by; all ranks encode a share of its images.

    It is the set that `--monitor.root` names, or the one that the run is `evaluated` on.
    """
    if wanted.every_epochs <= 0:
        return None
    if wanted.root is not None:
        labelled, ranking = read_benchmark(wanted.name, wanted.root), Ranking()
        refuse_faults(labelled, trains=False)
        from_lead(lambda: refuse_unreadable(labelled, trains=False, quiet=True), world)
    elif evaluated is not None:
        labelled, ranking = evaluated
    else:
        raise InputError("--monitor.every-epochs needs a labelled set; give its folder as --monitor.root")

    def measure(encoder: Encoder, steps_done: int) -> dict[str, float] | None:
        encoded = encode_benchmark(encoder, labelled, encoder.preprocess, compute, ranking, world=world, quiet=True)
        if not world.is_lead:
            return None
        try:
            result = evaluate_benchmark(encoded)
        except InputError as error:  # features of a collapsed encoder, say; the training goes on without these numbers
            say(f"step {steps_done}: not measured: {error}")
            return None
        say(f"step {steps_done}: {result_line(result)}")
        return {key: value for key, value in result.items() if key != "protocol"}

    return RetrievalMonitor(every=max(round(wanted.every_epochs * steps_per_epoch), 1), measure=measure)
