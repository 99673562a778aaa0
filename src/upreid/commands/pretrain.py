"""`upreid pretrain`: unlabelled person images in, an encoder out, by any method of `config/methods.py`."""

from collections.abc import Sequence
from pathlib import Path

from upreid.config.pretrain import PretrainConfig
from upreid.data.augment import CropBox, OriginalView, TrackletNumber
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.data.tracklet_lists import has_own_tracklets, read_tracklets
from upreid.errors import InputError
from upreid.methods import module_of
from upreid.methods.method import Method
from upreid.methods.pretraining import Setup, num_steps, preprocess
from upreid.methods.schedule import warmup_cosine
from upreid.runtime.distributed import World
from upreid.training.feeds.unlabelled import Pairing, UnlabelledFeed
from upreid.training.launch import fit
from upreid.training.loop import Plan
from upreid.training.parts import Context, Program, TrainingParts
from upreid.training.saved import saved_run
from upreid.training.step import make_optimiser

PROGRAM = Program(name="pretrain", what="pre-training", workers_on_gpu=8)


def run(config: PretrainConfig) -> int:
    """Train from the start; return the exit code: 0, or 128 + the signal that asked to stop."""
    return fit(lambda context: parts(config, context), config, program=PROGRAM)


def resume(folder: Path, flags: Sequence[str] = ()) -> int:
    """Go on from the last state in `folder`; `flags` may change what decides no number, such as `--data.root`."""
    saved = saved_run(folder, PROGRAM.name, flags)
    if saved.start is not None:
        raise InputError(
            f"the learning rate of {folder} has come down along a cosine that ends where its epochs end; a longer "
            "pre-training is a new one: start it with --train.epochs"
        )
    return fit(lambda context: parts(saved.config, context), saved.config, program=PROGRAM, saved=saved)


def parts(config: PretrainConfig, context: Context) -> TrainingParts:
    """Build what a pre-training consists of."""
    wanted, world = config.data, context.world
    source = open_source(wanted.root, cfs_share=wanted.cfs_share, patience=wanted.patience)
    check_batch(config, len(source), world)
    per_epoch = len(source) // config.train.batch
    setup = Setup(device=context.compute.device, num_images=len(source), steps_per_epoch=per_epoch, world=world)
    method = method_of(config, setup)
    pairing = pairing_of(config, source, method)
    feed = UnlabelledFeed(
        source,
        method.views(),
        preprocess=preprocess(config),
        batch=config.train.batch,
        seed=config.train.seed,
        compute=context.compute,
        world=world,
        unreadable_share=wanted.unreadable_share,
        patience=wanted.patience,
        pairing=pairing,
    )
    plan, optim = plan_of(config, per_epoch), config.optim
    momentum = {"momentum": optim.momentum, "weight_decay": optim.weight_decay}
    return TrainingParts(
        method=method,
        feed=feed,
        plan=plan,
        optimiser=lambda learning: make_optimiser(optim.name, learning, lr=optim.lr, **momentum),
        sentences=[*sentences(config, source, plan), *about_tracklets(source, pairing)],
        resolved={"lr": peak_lr(config)},
    )


def pairing_of(config: PretrainConfig, source: Source, method: Method) -> Pairing | None:
    """Read the tracklets that keys are drawn from; InputError where tracklets and the method do not fit together."""
    data, views = config.data, method.views()
    if data.tracklets is None:
        if any(isinstance(view, TrackletNumber) for view in views.values()):
            raise InputError("--contrast.mates needs to know tracklets; give --data.tracklets, or leave it out")
        if any(isinstance(view, OriginalView) and view.of_mate for view in views.values()):
            raise InputError(
                "--consistency.original key needs to know tracklets; give --data.tracklets, or leave it out"
            )
        if (data.tracklet_gap, data.tracklet_share) != (1, 1.0):
            raise InputError(
                "--data.tracklet-gap and --data.tracklet-share need to know tracklets; give --data.tracklets, or leave them out"
            )
        return None
    if any(isinstance(view, CropBox) for view in views.values()):
        raise InputError(
            "--data.tracklets makes the key of another crop, and --intrinsic.source views compares places of one picture; "
            "choose --intrinsic.source map, or leave the tracklets away"
        )
    if not any(view.of_mate for view in views.values()):
        raise InputError(
            "--data.tracklets has no effect on a method that makes no view of another crop; leave it away (with "
            "--contrast.key original keys are originals: say --contrast.key view)"
        )
    return Pairing(read_tracklets(data.tracklets, source), data.tracklet_gap, data.tracklet_share)


def about_tracklets(source: Source, pairing: Pairing | None) -> list[str]:
    """Say what tracklets there are, also where a packed set carries some that are not used."""
    if pairing is None:
        unused = f"{source.root} has tracklets, which are not used; --data.tracklets own takes keys from them"
        return [unused] if has_own_tracklets(source.root) else []
    unit = "places" if pairing.tracklets.frames is None else "frames"
    apart = f", {pairing.gap} or more {unit} apart" if pairing.gap > 1 else ""
    share = f", for {pairing.share:.0%} of the images" if pairing.share < 1 else ""
    return [pairing.tracklets.description, f"keys come from another crop of the tracklet{apart}{share}"]


def method_of(config: PretrainConfig, setup: Setup) -> Method:
    """Build the method that the configuration names."""
    return module_of(config).build(config, setup)


def plan_of(config: PretrainConfig, steps_per_epoch: int) -> Plan:
    """Turn epochs into steps: a linear warm-up, then half a cosine to 0."""
    steps = num_steps(config, steps_per_epoch)
    warmup, peak = round(config.optim.warmup_epochs * steps_per_epoch), peak_lr(config)
    return Plan(
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        lr=lambda step: peak * warmup_cosine(step, total=steps, warmup=warmup),
    )


def peak_lr(config: PretrainConfig) -> float:
    """Scale the learning rate linearly with the batch."""
    return config.optim.lr * config.train.batch / config.optim.lr_batch


def check_batch(config: PretrainConfig, num_images: int, world: World) -> None:
    """Refuse a batch that does not fit the data, or does not divide over processes, backward passes and BatchNorm groups."""
    batch, train, groups = config.train.batch, config.train, config.model.bn_groups
    if batch > num_images:
        raise InputError(
            f"batch of {batch} is larger than the {num_images} images in {config.data.root}; "
            f"lower --train.batch or add images"
        )
    shares = world.size * train.accumulate * groups
    if batch % shares or batch // shares < 2:
        below = max(batch // shares, 2) * shares
        above = below + shares
        raise InputError(
            f"batch of {batch} does not divide over {world.size} processes x {train.accumulate} backward passes x "
            f"{groups} BatchNorm groups in parts of 2 or more; use {below} or {above} (--train.batch {below})"
        )


def sentences(config: PretrainConfig, source: Source, plan: Plan) -> list[str]:
    """Say what a reader of the log should know about how this run computes."""
    optim, batch, num_images = config.optim, config.train.batch, len(source)
    return [
        source.description,
        f"{num_images} images, batch {batch}: {plan.steps_per_epoch} steps per epoch, {plan.steps} steps",
        f"learning rate {peak_lr(config):g} = {optim.lr:g} per {optim.lr_batch} images x {batch} / {optim.lr_batch}",
    ]
