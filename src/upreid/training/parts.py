"""What a training consists of, and what its parts are built for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from upreid.data.benchmarks import Benchmark
from upreid.methods.method import Method
from upreid.models.encoder import EncoderHeader
from upreid.retrieval.settings import Ranking
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.runtime.distributed import World
from upreid.runtime.interrupt import Stop
from upreid.training.feeds import Feed
from upreid.training.loop import Plan


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command that trains."""

    name: str
    """The command as it is typed; only the same program resumes a run."""
    what: str
    """What it does, for progress lines."""
    workers_on_gpu: int = 8
    """Processes that read images beside a GPU, where the user does not say."""


FIT = Program(name="fit", what="training")
"""A training that a Python program starts with `upreid.fit`."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the parts of a training are built for."""

    compute: Compute
    world: World
    header: EncoderHeader | None
    """Of the encoder that a resumed run has made so far; None in a new run."""
    stop: Stop = field(default_factory=Stop)
    """Whether somebody asked the run to stop, from its first step on."""

    def say(self, *sentences: str) -> None:
        """Say something once for all ranks."""
        for sentence in sentences if self.world.is_lead else ():
            say(sentence)


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """What a training consists of."""

    method: Method
    feed: Feed
    plan: Plan
    optimiser: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]
    """Makes the optimiser over the parameters that learn, once they are on the device."""
    sentences: Sequence[str] = ()
    """What is to be said before the first step."""
    resolved: dict[str, Any] = field(default_factory=dict)
    """What config.json is to say beside the settings."""
    evaluated: tuple[Benchmark, Ranking] | None = None
    """Labelled set that the run is evaluated on, and how; the monitor takes it where `--monitor.root` names none."""
    finish: Callable[[], None] | None = None
    """What follows the last step, called on all ranks."""
