"""The loop of every training: steps, states to resume from, the encoder, the journal, the monitor and progress."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from upreid.errors import Stopped
from upreid.methods.method import Method
from upreid.models.encoder import Encoder, save_encoder
from upreid.runtime.compute import Compute
from upreid.runtime.console import Meter, progress, say
from upreid.runtime.distributed import World, averaging
from upreid.runtime.interrupt import Stop, is_time_to_stop
from upreid.runtime.seed import stream_key
from upreid.training.feeds import Feed
from upreid.training.monitor import RetrievalMonitor
from upreid.training.precision import Precision
from upreid.training.prefetch import prefetched
from upreid.training.recorder import Recorder
from upreid.training.state import capture, exported, plain
from upreid.training.states import States
from upreid.training.step import train_step
from upreid.types import Views


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a run is, and the learning rate of each step."""

    steps: int
    steps_per_epoch: int
    lr: Callable[[int], float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One process's part in a training."""

    what: str
    """What the run does, for progress lines: pre-training."""
    resume_line: str
    """The command that goes on with this run."""
    out: Path
    hash: str
    """Hash of the configuration."""
    method: Method
    feed: Feed
    plan: Plan
    optimiser: torch.optim.Optimizer
    precision: Precision
    accumulate: int
    seed: int
    save_every: int
    recorder: Recorder
    states: States
    stop: Stop
    compute: Compute
    world: World
    monitor: RetrievalMonitor | None = None


def train(run: Run, first: int) -> int:
    """Go from step `first` to the last; save on the way, when asked to stop, and at the end.

    Returns the exit code: 0, or 128 + the signal that asked to stop.
    """
    steps, batch, trained = run.plan.steps, run.feed.batch, None
    with progress(run.what, steps * batch, "images", done=first * batch, quiet=not run.world.is_lead) as meter:
        done = first
        try:
            for views in all_views(run, first):
                if report := run.feed.report():
                    run.recorder.observe(done, report)
                if run.method.phase(done) or trained is None:  # DistributedDataParallel notes at its start what learns
                    trained = averaging(run.method.student, run.compute.device, run.world)
                one_step(run, trained, views, done, meter)
                del views  # or it would be held while the next is made; `enumerate` would hold it too
                done += 1
                observe(run, done)
                if closing(run, done):
                    break
        except Stopped:  # somebody asked, and no batch came
            save(run, done)
    if done < steps:
        if run.world.is_lead:
            say(f"stopped at step {done} of {steps}; go on with: {run.resume_line}")
        return 128 + (run.stop.signal or 0)
    if run.world.is_lead:
        if first == steps:
            say(f"{run.out} had come to its end at step {first} already")
        say(f"encoder: {run.out / 'encoder.safetensors'}")
    return 0


def all_views(run: Run, first: int) -> Iterator[Views]:
    """Yield the views of each step from `first` on, prepared for the next step while the device is at this one."""
    return map(prefetched(run.feed.prepare, run.compute.device), run.feed.batches(first, run.plan.steps))


def one_step(run: Run, trained: torch.nn.Module, views: Views, step: int, meter: Meter) -> None:
    """Set what depends on the step number, then do the step."""
    torch.manual_seed(stream_key(run.seed, step, f"step of rank {run.world.rank}"))  # stochastic depth
    lr = run.plan.lr(step)
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    losses = train_step(
        run.method,
        trained,
        views,
        step,
        run.optimiser,
        precision=run.precision,
        accumulate=run.accumulate,
    )
    run.recorder.add(step, lr, losses)
    meter.advance(run.feed.batch, run.recorder.note())


def closing(run: Run, steps_done: int) -> bool:
    """Save where it is time to; return whether the run is to stop here."""
    stops = is_time_to_stop(run.stop, steps_done, run.compute.device, run.world)
    if stops or steps_done == run.plan.steps or steps_done % run.save_every == 0:
        save(run, steps_done)
    return stops


def save(run: Run, steps_done: int) -> None:
    """Write `encoder.safetensors` and a state, once every loss up to here is known to be finite."""
    run.recorder.read()
    feed = {"fingerprint": run.feed.fingerprint, "images": run.feed.num_images, **run.feed.state()}
    encoder = exported(run.method.encoder(), run.world)
    header = replace(encoder.header, recipe_hash=run.hash, step=steps_done)
    state = {"step": steps_done, "hash": run.hash, "feed": plain(feed), "header": plain(header.as_dict())}
    state |= capture(run.method, run.optimiser, run.world)
    if run.world.is_lead:
        save_encoder(run.out / "encoder.safetensors", Encoder(encoder.backbone, header, encoder.head))
        run.states.save(state)


def observe(run: Run, steps_done: int) -> None:
    """Measure the encoder where it is time to; while rank 0 ranks, the others wait in the next step."""
    if run.monitor is None or steps_done % run.monitor.every:
        return
    numbers = run.monitor.measure(exported(run.method.encoder(), run.world).eval(), steps_done)
    run.recorder.observe(steps_done - 1, numbers)
