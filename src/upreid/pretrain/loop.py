"""The loop of pre-training: steps, the retrieval monitor, states to resume from, and the encoder."""

from dataclasses import dataclass

import torch

from upreid.build.labelled import benchmark, result_line, retrieve
from upreid.build.plan import Plan
from upreid.build.pretraining import augmentation, loader, preprocess
from upreid.build.state import capture, exported
from upreid.config.files import digest, to_dict
from upreid.config.labelled import LabelledSet
from upreid.config.pretrain import PretrainConfig
from upreid.data.dataset import SkipLedger
from upreid.data.sources.source import Source
from upreid.method import Method, train_step
from upreid.models.encoder import Encoder, EncoderHeader, save_encoder
from upreid.runtime.checkpoint import save_state
from upreid.runtime.compute import Compute
from upreid.runtime.console import Meter, progress, say
from upreid.runtime.distributed import World
from upreid.runtime.interrupt import Stop, is_time_to_stop
from upreid.runtime.record import Record
from upreid.runtime.seed import stream_key
from upreid.types import ImageBatch, Views

LICENCE_NOTE = (
    "made from the images of whoever ran the pre-training; their terms decide what the weights may be used for"
)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One process's part in a run."""

    config: PretrainConfig
    plan: Plan
    compute: Compute
    world: World
    method: Method
    optimiser: torch.optim.Optimizer
    record: Record
    ledger: SkipLedger
    source: Source
    stop: Stop


def train(run: Session, first: int) -> int:
    """Go from step `first` to the last; save on the way, when asked to stop, and at the end.

    Returns the exit code: 0, or 128 + the signal that asked to stop.
    """
    config, plan = run.config, run.plan
    augment = augmentation(config)
    batches = loader(config, run.source, augment, run.compute, run.world, first, plan.steps)
    total, done, quiet = plan.steps * plan.batch, first * plan.batch, not run.world.is_lead
    with progress("pre-training", total, "images", done=done, quiet=quiet) as meter:
        for step, (batch, skipped) in enumerate(batches, start=first):
            for sentence in run.ledger.add(skipped):
                say(f"skipped {sentence}")
            views = augment(batch.to(run.compute.device)) if isinstance(batch, ImageBatch) else batch
            one_step(run, views, step, meter)
            monitor(run, step + 1)
            if closing(run, step + 1) and step + 1 < plan.steps:
                say(f"stopped at step {step + 1} of {plan.steps}; go on with: upreid pretrain --resume {config.out}")
                return 128 + (run.stop.signal or 0)
    if first == plan.steps:
        say(f"{config.out} had come to its end at step {first} already")
    if run.world.is_lead:
        say(f"encoder: {config.out / 'encoder.safetensors'}")
    return 0


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


def save(run: Session, steps_done: int) -> None:
    """Write `state.pt` and `encoder.safetensors`, once every loss up to here is known to be finite."""
    run.record.read()
    hash_ = digest(to_dict(run.config))
    state = {"step": steps_done, "hash": hash_, "skipped": run.ledger.state()}
    state |= {"images": len(run.source), "source": run.source.fingerprint}
    state |= capture(run.method, run.optimiser)
    backbone = exported(run.method.network.backbone, run.world)
    if run.world.is_lead:
        encoder = Encoder(backbone, header(run.config, hash_, steps_done))
        save_encoder(run.config.out / "encoder.safetensors", encoder)
        save_state(run.config.out / "state.pt", state)


def header(config: PretrainConfig, recipe_hash: str, step: int) -> EncoderHeader:
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
    """Retrieve on a labelled set, every so often; observes only, so the run is the same without it."""
    wanted = run.config.monitor
    if not run.plan.monitor_every or steps_done % run.plan.monitor_every or not run.world.is_lead:
        return
    assert wanted.root is not None
    labelled = benchmark(LabelledSet(name=wanted.name, root=wanted.root), quiet=True)
    backbone = run.method.network.backbone.eval()
    result = retrieve(lambda images, _: backbone(images), labelled, preprocess(run.config), run.compute, quiet=True)
    backbone.train()
    run.record.observe(steps_done - 1, {key: value for key, value in result.items() if key != "protocol"})
    say(f"step {steps_done}: {result_line(result)}")
