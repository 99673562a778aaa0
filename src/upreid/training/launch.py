"""How every training begins and ends: device, processes, folder, parts, state to resume from, loop, and what follows it."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from upreid.config.files import digest, to_dict
from upreid.config.training import Monitor as MonitorConfig
from upreid.config.training import TrainConfig, TrainingConfig
from upreid.data.benchmarks import read_benchmark
from upreid.data.benchmarks.checkup import refuse_faults
from upreid.data.benchmarks.contents import refuse_unreadable
from upreid.errors import InputError
from upreid.methods.method import Method
from upreid.models.encoder import Encoder, EncoderHeader, read_file, read_header
from upreid.retrieval.evaluation import rank_sides, result_line
from upreid.retrieval.features import encode_sides
from upreid.runtime.compute import Compute, check_compiler, settle
from upreid.runtime.console import logging_to, say
from upreid.runtime.distributed import World, apart, from_lead, join
from upreid.runtime.files import write_text
from upreid.runtime.folder import claim
from upreid.runtime.interrupt import listen
from upreid.runtime.journal import Journal
from upreid.runtime.launcher import num_restarts
from upreid.runtime.provenance import provenance
from upreid.training.feeds.feed import Feed
from upreid.training.loop import Monitor, Plan, Run, train
from upreid.training.recorder import Recorder
from upreid.training.saved import saved_state
from upreid.training.state import restore
from upreid.training.states import States
from upreid.training.step import Precision
from upreid.training.tensorboard import TensorBoard


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command that trains."""

    name: str
    """As it is typed; only the same program resumes a run."""
    what: str
    """What it does, for progress lines."""
    workers_on_gpu: int = 8
    """Processes that read images beside a GPU, where the user does not say."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the parts of a training are built for."""

    compute: Compute
    world: World
    header: EncoderHeader | None
    """Of the encoder that a resumed run has made so far; None in a new run."""

    def say(self, *sentences: str) -> None:
        """Say something once for all ranks."""
        for sentence in sentences if self.world.is_lead else ():
            say(sentence)


@dataclass(frozen=True, kw_only=True)
class Parts:
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
    finish: Callable[[], None] | None = None
    """What follows the last step, called on all ranks."""


def fit(
    build: Callable[[Context], Parts],
    config: TrainingConfig,
    *,
    program: Program = Program(name="fit", what="training"),
    hash_: str | None = None,
    resumes: bool = False,
) -> int:
    """Train from the start, or with `resumes` from the last state in the folder.

    `build` makes the parts, on every rank. `hash_` is that of the configuration as it was first given, where it is not that of
    `config`. Returns the exit code: 0, or 128 + the signal that asked to stop. Whatever can be known before the first step is
    refused before it, and then nothing of the run is left on the disk.
    """
    wanted, hash_ = config.train, hash_ or digest(config)
    on_gpu = wanted.device != "cpu" and torch.cuda.is_available()
    wished = program.workers_on_gpu if on_gpu else 1
    compute = settle(wanted.device, wanted.threads, wanted.workers, workers_wanted=wished)
    torch.set_num_threads(compute.threads)
    if wanted.compile:
        check_compiler()
    with ExitStack() as stack:
        world = stack.enter_context(join(compute.device))
        opening = partial(open_run, config, program, hash_, world, stack, resumes=resumes)
        goes_on = resumes or num_restarts() > 0
        opened = opening() if goes_on else None
        header = header_of(opened, config.out, world)
        context = Context(compute=compute, world=world, header=header)
        parts = build(context)
        monitor = make_monitor(config.monitor, parts.plan, compute, world)
        states, state = opened or opening()  # a new run touches the disk when all its parts are built
        method = placed(parts.method, wanted, compute.device)
        optimiser = parts.optimiser(method.learning())
        first = 0
        if state is not None:
            check_images(parts.feed, state["feed"])
            parts.feed.restore(state["feed"])
            restore(method, optimiser, state, world)
            first = int(state["step"])
        introduce(config, program, hash_, context, parts)
        sinks = [stack.enter_context(sink) for sink in make_sinks(config, world, first)]
        with listen() as stop, apart():
            run = Run(
                what=program.what,
                resume_line=f"upreid {program.name} --resume {config.out}",
                out=config.out,
                hash=hash_,
                method=method,
                feed=parts.feed,
                plan=parts.plan,
                optimiser=optimiser,
                precision=Precision(device=compute.device, bf16=wanted.bf16),
                accumulate=wanted.accumulate,
                seed=wanted.seed,
                save_every=wanted.save_every,
                recorder=Recorder(sinks, world),
                states=states,
                stop=stop,
                compute=compute,
                world=world,
                monitor=monitor,
            )
            code = train(run, first)
        if code == 0 and parts.finish is not None:
            parts.finish()
        return code


def open_run(
    config: TrainingConfig, program: Program, hash_: str, world: World, stack: ExitStack, *, resumes: bool
) -> tuple[States, dict[str, Any] | None]:
    """Claim the run's folder until `stack` closes, and read the last whole state for every rank.

    Rank 0 alone touches the folder; what it cannot do is raised on all. None: there is nothing to go on from, because the
    run is new or was stopped before its first save.
    """
    states = States(config.out, config.train.keep_states)

    def open_folder() -> dict[str, Any] | None:
        stack.enter_context(claim(config.out, resume=resumes))
        stack.enter_context(logging_to(config.out / "logs" / f"{program.name}.log"))
        return saved_state(config.out, hash_, states)

    state = from_lead(open_folder, world)
    if world.is_lead and (resumes or state):
        say(f"resuming {config.out} at step {state['step'] if state else 0}")
    return states, state


def header_of(opened: tuple[States, dict[str, Any] | None] | None, out: Path, world: World) -> EncoderHeader | None:
    """Return what the encoder of a state says of itself, or None where there is no state.

    A state of format 1 leaves that to the encoder file beside it.
    """
    state = opened[1] if opened else None
    if state is None:
        return None
    if state["header"] is None:
        return from_lead(lambda: read_file(out / "encoder.safetensors")[0], world)
    return read_header(out / "state.pt", json.dumps(state["header"]))


def placed(method: Method, wanted: TrainConfig, device: torch.device) -> Method:
    """Bring a method to the device, in the memory format and compiled as the settings say."""
    method = method.to(device)
    if wanted.channels_last:
        method = method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if wanted.compile:
        method.compile_student()
    return method


def check_images(feed: Feed, saved: dict[str, Any]) -> None:
    """Refuse to go on with other images than the run was saved with; a state of format 1 may not know which they were."""
    if saved.get("fingerprint") is None:
        return
    if saved["images"] != feed.num_images:
        raise InputError(
            f"there are {feed.num_images} images and there were {saved['images']} when the run was saved; "
            f"put them back, or start a new run"
        )
    if saved["fingerprint"] != feed.fingerprint:
        raise InputError(
            f"there are {feed.num_images} images as before, but others than when the run was saved (names, labels, order "
            f"or form have changed); put them back, or start a new run"
        )


def introduce(config: TrainingConfig, program: Program, hash_: str, context: Context, parts: Parts) -> None:
    """Say how this run computes and what is promised of resuming it, and write config.json if it is not there yet."""
    compute, world = context.compute, context.world
    if not world.is_lead:
        return
    compute.announce()
    for sentence in [*parts.sentences, *parts.method.explanations()]:
        say(sentence)
    where = "eager mode, this device, thread count and number of processes"
    exact = compute.device.type == "cpu" and not config.train.compile
    say(
        f"resuming is bit-exact ({where})"
        if exact
        else "resuming is exact in data and schedule, not promised bit for bit"
    )
    path = config.out / "config.json"
    if path.exists():
        return
    resolved = {
        "steps": parts.plan.steps,
        **parts.resolved,
        "images": parts.feed.num_images,
        "world_size": world.size,
        "device": str(compute.device),
        "threads": compute.threads,
        "workers": compute.workers,
    }
    facts = {"program": program.name, "hash": hash_, "settings": to_dict(config), "resolved": resolved}
    write_text(path, json.dumps({**facts, "started_in": str(Path.cwd()), **provenance()}, indent=2) + "\n")


def make_sinks(config: TrainingConfig, world: World, first: int) -> list[Journal | TensorBoard]:
    """Return where numbers go: the journal, and TensorBoard where asked for; rank 0 only."""
    if not world.is_lead:
        return []
    views = [TensorBoard(config.out / "logs" / "tensorboard", resume_at=first)] if config.tensorboard else []
    return [Journal(config.out / "metrics.jsonl", resume_at=first), *views]


def make_monitor(wanted: MonitorConfig, plan: Plan, compute: Compute, world: World) -> Monitor | None:
    """Return the retrieval on a labelled set that a run is watched by; all ranks encode a share of its images."""
    if wanted.every_epochs <= 0:
        return None
    if wanted.root is None:
        raise InputError("--monitor.every-epochs needs a labelled set; give its folder as --monitor.root")
    labelled = read_benchmark(wanted.name, wanted.root)
    refuse_faults(labelled, trains=False)
    from_lead(lambda: refuse_unreadable(labelled, trains=False, quiet=True), world)

    def measure(encoder: Encoder, steps_done: int) -> dict[str, float] | None:
        sides = encode_sides(encoder, labelled, encoder.preprocess, compute, world=world, quiet=True)
        if not world.is_lead:
            return None
        result = rank_sides(sides)
        say(f"step {steps_done}: {result_line(result)}")
        return {key: value for key, value in result.items() if key != "protocol"}

    return Monitor(every=max(round(wanted.every_epochs * plan.steps_per_epoch), 1), measure=measure)
