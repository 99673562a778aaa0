"""The loop of pre-training: steps, the retrieval monitor, states to resume from, and the encoder."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from upreid.build.plan import Plan
from upreid.build.pretraining import Loaded, augmentation, loader, preprocess
from upreid.build.state import capture, exported
from upreid.config.files import digest
from upreid.config.pretrain import MocoV2Config
from upreid.data.benchmarks import read_benchmark
from upreid.data.dataset import SkipLedger
from upreid.data.sources.source import Source
from upreid.method import Method, train_step
from upreid.models.encoder import Encoder, EncoderHeader, save_encoder
from upreid.retrieval.evaluation import rank_sides, result_line
from upreid.retrieval.features import encode_sides
from upreid.runtime.beside import beside
from upreid.runtime.compute import Compute
from upreid.runtime.console import Meter, progress, say
from upreid.runtime.distributed import World
from upreid.runtime.interrupt import Stop, is_time_to_stop, saving
from upreid.runtime.record import Record
from upreid.runtime.seed import stream_key
from upreid.runtime.states import States
from upreid.types import ImageBatch, Views

LICENCE_NOTE = (
    "made from the images of whoever ran the pre-training; their terms decide what the weights may be used for"
)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One process's part in a run."""

    config: MocoV2Config
    plan: Plan
    compute: Compute
    world: World
    method: Method
    optimiser: torch.optim.Optimizer
    record: Record
    ledger: SkipLedger
    source: Source
    states: States
    stop: Stop


def train(run: Session, first: int) -> int:
    """Go from step `first` to the last; save on the way, when asked to stop, and at the end.

    Returns the exit code: 0, or 128 + the signal that asked to stop.
    """
    config, plan = run.config, run.plan
    total, done, quiet = plan.steps * plan.batch, first * plan.batch, not run.world.is_lead
    with progress("pre-training", total, "images", done=done, quiet=quiet) as meter:
        done = first
        for views in all_views(run, first):
            one_step(run, views, done, meter)
            del views  # or it would be held while the next is made; `enumerate` would hold it too
            done += 1
            monitor(run, done)
            if closing(run, done) and done < plan.steps:
                say(f"stopped at step {done} of {plan.steps}; go on with: upreid pretrain --resume {config.out}")
                return 128 + (run.stop.signal or 0)
    if first == plan.steps:
        say(f"{config.out} had come to its end at step {first} already")
    if run.world.is_lead:
        say(f"encoder: {config.out / 'encoder.safetensors'}")
    return 0


def all_views(run: Session, first: int) -> Iterator[Views]:
    """The views of each step from `first` on; unreadable files are counted before the step that they were met for."""
    augment, device = augmentation(run.config), run.compute.device

    def prepare(loaded: Loaded) -> Views:
        batch, skipped = loaded
        for sentence in run.ledger.add(skipped):
            say(f"skipped {sentence}")
        return augment(batch.to(device)) if isinstance(batch, ImageBatch) else batch

    batches = loader(run.config, run.source, augment, run.compute, run.world, first, run.plan.steps)
    return map(beside(prepare, device), batches)


def one_step(run: Session, views: Views, step: int, meter: Meter) -> None:
    """Set what depends on the step number, then do the step."""
    torch.manual_seed(stream_key(run.config.train.seed, step, f"step of rank {run.world.rank}"))  # stochastic depth
    lr = run.plan.lr_at(step)
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    losses = train_step(run.method, views, step, run.optimiser)
    run.record.add(step, lr, losses)
    meter.advance(run.plan.batch, run.record.note())


def closing(run: Session, steps_done: int) -> bool:
    """Save where it is time to; return whether the run is to stop here."""
    plan, world = run.plan, run.world
    stops = is_time_to_stop(run.stop, steps_done, run.compute.device, world)
    if stops or steps_done == plan.steps or steps_done % plan.save_every == 0:
        save(run, steps_done)
    return stops


@saving()
def save(run: Session, steps_done: int) -> None:
    """Write `encoder.safetensors` and a state, once every loss up to here is known to be finite."""
    run.record.read()
    hash_ = digest(run.config)
    state = {"step": steps_done, "hash": hash_, "skipped": run.ledger.state()}
    state |= {"images": len(run.source), "source": run.source.fingerprint}
    state |= capture(run.method, run.optimiser)
    backbone = exported(run.method.network.backbone, run.world)
    if run.world.is_lead:
        encoder = Encoder(backbone, header(run.config, hash_, steps_done))
        save_encoder(run.config.out / "encoder.safetensors", encoder)
        run.states.save(state)


def header(config: MocoV2Config, recipe_hash: str, step: int) -> EncoderHeader:
    """What the encoder file says about itself."""
    return EncoderHeader(
        backbone=config.model.backbone,
        channels=config.model.channels,
        last_stride=config.model.last_stride,
        height=config.augment.height,
        width=config.augment.width,
        mean=config.augment.mean,
        std=config.augment.std,
        recipe=config.recipe,
        recipe_hash=recipe_hash,
        step=step,
        licence_note=LICENCE_NOTE,
    )


def monitor(run: Session, steps_done: int) -> None:
    """Retrieve on a labelled set, every so often; observes only, so the run is the same without it.

    All ranks encode a part of the images with the backbone as it would be exported; while rank 0 ranks, the others wait
    in the next step.
    """
    wanted = run.config.monitor
    if not run.plan.monitor_every or steps_done % run.plan.monitor_every:
        return
    assert wanted.root is not None
    labelled = read_benchmark(wanted.name, wanted.root)
    backbone = exported(run.method.network.backbone, run.world).eval()
    how = labelled, preprocess(run.config), run.compute
    sides = encode_sides(lambda images, _: backbone(images), *how, world=run.world, quiet=True)
    if run.world.is_lead:
        result = rank_sides(sides)
        run.record.observe(steps_done - 1, {key: value for key, value in result.items() if key != "protocol"})
        say(f"step {steps_done}: {result_line(result)}")
