"""How every training begins and ends: device, processes, folder, parts, state to resume from, loop, and what follows it."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from upreid.config.files import digest
from upreid.config.training import TrainingConfig
from upreid.errors import InputError
from upreid.methods.method import Method
from upreid.models.batchnorm import in_channels_last
from upreid.models.encoder import read_file
from upreid.models.header import EncoderHeader, read_header
from upreid.runtime.compute import check_compiler, settle
from upreid.runtime.console import logging_to, say
from upreid.runtime.distributed import World, from_lead, join
from upreid.runtime.faults import errors_of_one_rank
from upreid.runtime.folder import claim
from upreid.runtime.interrupt import listen
from upreid.runtime.journal import Journal
from upreid.runtime.launcher import num_restarts
from upreid.training.feeds import Feed
from upreid.training.introduction import introduce
from upreid.training.loop import Plan, Run, train
from upreid.training.monitor import make_monitor
from upreid.training.parts import FIT, Context, Program, TrainingParts
from upreid.training.precision import Precision, settle_precision
from upreid.training.recorder import Recorder, TensorBoard
from upreid.training.saved import SavedRun, saved_state
from upreid.training.state import restore
from upreid.training.states import States

BESIDE = {
    "source": ("the images of the source", "--source.root the folder"),
    "tracklets": ("their tracklets", "--data.tracklets the list"),
}
"""What a fingerprint may name beside the images -> words for it, and the flag that gives it."""


def fit(
    build: Callable[[Context], TrainingParts],
    config: TrainingConfig,
    *,
    resumes: bool = False,
    program: Program = FIT,
    saved: SavedRun | None = None,
) -> int:
    """Train from the start, or with `resumes` from the last state in the folder of the same configuration.

    `build` makes the parts, on every rank. `saved` is what a command knows of the run that it resumes, or that a new and longer
    run starts from. Returns the exit code: 0, or 128 + the signal that asked to stop. Whatever can be known before the first
    step is refused before it, and then nothing of the run is left on the disk.
    """
    wanted, resumes = config.train, resumes or (saved is not None and saved.start is None)
    hash_ = saved.hash if saved is not None and resumes else digest(config)
    on_gpu = wanted.device != "cpu" and torch.cuda.is_available()
    wished = program.workers_on_gpu if on_gpu else 1
    compute = settle(wanted.device, wanted.threads, wanted.workers, workers_wanted=wished)
    torch.set_num_threads(compute.threads)
    if wanted.compile:
        check_compiler()
    with ExitStack() as stack:
        world = stack.enter_context(join(compute.device))
        opening = partial(open_run, config, program, hash_, world, stack, resumes=resumes)
        opened = opening() if resumes or num_restarts() > 0 else None
        state, folder = (opened[1] if opened else None), config.out
        if state is None and saved is not None and saved.start is not None:
            state, folder = start_from(saved, world), saved.start
        context = Context(compute=compute, world=world, header=header_of(state, folder, world))
        parts = build(context)
        check_length(parts.plan, state, saved)
        monitor = make_monitor(config.monitor, parts.plan.steps_per_epoch, compute, world, parts.evaluated)
        states, own = opened or opening()  # a new run touches the disk when all its parts are built
        state = own or state
        precision = settle_precision(wanted, compute.device, world, folder if state is not None else None)
        method = placed(parts.method, precision, compiled=wanted.compile)
        optimiser = parts.optimiser(method.learning())
        first = 0
        if state is not None:
            check_images(parts.feed, state["feed"])
            parts.feed.restore(state["feed"])
            restore(method, optimiser, state, world)
            first = int(state["step"])
        introduce(config, program, hash_, context, precision, parts, saved)
        sinks = [stack.enter_context(sink) for sink in make_sinks(config, world, first)]
        if own is None and saved is not None and saved.start is not None:
            for sink in sinks:
                sink.write(step=first, starts_from=str(saved.start))
        resume_line = f"upreid {program.name} --resume {config.out}"
        with (
            listen(context.stop) as stop,
            errors_of_one_rank(f"what was saved before is kept: go on with {resume_line}"),
        ):
            run = Run(
                what=program.what,
                resume_line=resume_line,
                out=config.out,
                hash=hash_,
                method=method,
                feed=parts.feed,
                plan=parts.plan,
                optimiser=optimiser,
                precision=precision,
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


def start_from(saved: SavedRun, world: World) -> dict[str, Any]:
    """Read the last state of the run that a longer one starts from."""
    assert saved.start is not None
    folder, hash_ = saved.start, saved.hash
    state = from_lead(lambda: saved_state(folder, hash_, States(folder)), world)
    if state is None:
        raise InputError(
            f"no state in {folder}: the run was stopped before its first save, and there is nothing to start from"
        )
    return state


def check_length(plan: Plan, state: dict[str, Any] | None, saved: SavedRun | None) -> None:
    """Refuse a longer run that is not longer."""
    if state is not None and saved is not None and saved.start is not None and plan.steps <= state["step"]:
        raise InputError(
            f"{saved.start} has come to step {state['step']}, and this run would end at {plan.steps}; give more --train.epochs"
        )


def header_of(state: dict[str, Any] | None, folder: Path, world: World) -> EncoderHeader | None:
    """Return what the encoder of a state says of itself, or None where there is no state.

    A state of format 1 leaves that to the encoder file beside it.
    """
    if state is None:
        return None
    if state["header"] is None:
        return from_lead(lambda: read_file(folder / "encoder.safetensors")[0], world)
    return read_header(folder / "state.pt", json.dumps(state["header"]))


def placed(method: Method, precision: Precision, *, compiled: bool = False) -> Method:
    """Bring a method to its device and into its memory format, and compile its student where that is wanted."""
    method = method.to(precision.device)
    if precision.channels_last:
        method = in_channels_last(method)
    if compiled:
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
    before, now = (str(fingerprint).split(", ") for fingerprint in (saved["fingerprint"], feed.fingerprint))
    if before != now and before[0] == now[0]:
        beside = next(kind for kind in BESIDE if any(part.startswith(f"{kind} ") for part in (*before[1:], *now[1:])))
        others, flag = BESIDE[beside]
        raise InputError(
            f"the {feed.num_images} images are those that the run was saved with, but {others} are others; "
            f"give {flag} of then, or start a new run"
        )
    if before != now:
        raise InputError(
            f"there are {feed.num_images} images as before, but others than when the run was saved (names, labels, order "
            f"or form have changed); put them back, or start a new run"
        )


def make_sinks(config: TrainingConfig, world: World, first: int) -> list[Journal | TensorBoard]:
    """Return where numbers go: the journal, and TensorBoard where asked for; rank 0 only."""
    if not world.is_lead:
        return []
    views = [TensorBoard(config.out / "logs" / "tensorboard", resume_at=first)] if config.tensorboard else []
    return [Journal(config.out / "metrics.jsonl", resume_at=first), *views]
