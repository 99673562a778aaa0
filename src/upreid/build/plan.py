"""What a pre-training run comes to in numbers: steps, learning rate, BatchNorm groups; or why it cannot be."""

from dataclasses import dataclass

from upreid.config.pretrain import MocoV2Config
from upreid.errors import InputError
from upreid.losses import intrinsic
from upreid.runtime.distributed import World
from upreid.runtime.schedule import warmup_cosine


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Durations in steps; the peak learning rate after linear scaling."""

    num_images: int
    batch: int
    steps: int
    steps_per_epoch: int
    warmup: int
    lr: float
    save_every: int
    monitor_every: int
    """0: never."""

    def lr_at(self, step: int) -> float:
        """Learning rate of a step."""
        return self.lr * warmup_cosine(step, total=self.steps, warmup=self.warmup)


def make_plan(config: MocoV2Config, num_images: int, world: World) -> Plan:
    """Turn epochs into steps and scale the learning rate.

    Raises InputError for settings that contradict each other, the data, or the number of processes.
    """
    check_numbers(config)
    check_batch(config, num_images, world)
    check_contrast(config)
    train, per_epoch = config.train, num_images // config.train.batch
    monitor = config.monitor
    if monitor.every_epochs > 0 and monitor.root is None:
        raise InputError("--monitor.every-epochs needs a labelled set; give its folder as --monitor.root")
    return Plan(
        num_images=num_images,
        batch=train.batch,
        steps=train.steps if train.steps is not None else max(round(train.epochs * per_epoch), 1),
        steps_per_epoch=per_epoch,
        warmup=round(config.optim.warmup_epochs * per_epoch),
        lr=config.optim.lr * train.batch / config.optim.lr_batch,
        save_every=train.save_every,
        monitor_every=max(round(monitor.every_epochs * per_epoch), 1) if monitor.every_epochs > 0 else 0,
    )


def check_numbers(config: MocoV2Config) -> None:
    """Refuse numbers outside their range."""
    positive = {
        "--train.batch": config.train.batch,
        "--train.epochs": config.train.epochs,
        "--train.accumulate": config.train.accumulate,
        "--train.save-every": config.train.save_every,
        "--train.keep-states": config.train.keep_states,
        "--model.bn-groups": config.model.bn_groups,
        "--model.embed-dim": config.model.embed_dim,
        "--augment.height": config.augment.height,
        "--augment.width": config.augment.width,
        "--contrast.queue": config.contrast.queue,
        "--contrast.temperature": config.contrast.temperature,
        "--consistency.temperature": config.consistency.temperature,
        "--consistency.teacher-temperature": config.consistency.teacher_temperature,
        "--intrinsic.temperature": config.intrinsic.temperature,
        "--intrinsic.rows": config.intrinsic.rows,
        "--intrinsic.columns": config.intrinsic.columns,
        "--optim.lr": config.optim.lr,
        "--optim.lr-batch": config.optim.lr_batch,
        "--train.steps": 1 if config.train.steps is None else config.train.steps,
    }
    not_negative = {
        "--consistency.weight": config.consistency.weight,
        "--consistency.ramp-up-epochs": config.consistency.ramp_up_epochs,
        "--intrinsic.weight": config.intrinsic.weight,
        "--intrinsic.ramp-up-epochs": config.intrinsic.ramp_up_epochs,
        "--optim.momentum": config.optim.momentum,
        "--optim.weight-decay": config.optim.weight_decay,
        "--optim.warmup-epochs": config.optim.warmup_epochs,
        "--monitor.every-epochs": config.monitor.every_epochs,
        "--data.unreadable-share": config.data.unreadable_share,
        "--data.patience": config.data.patience,
    }
    for flag, value in positive.items():
        if not value > 0:
            raise InputError(f"{flag} {value}: must be above 0")
    for flag, value in not_negative.items():
        if not value >= 0:
            raise InputError(f"{flag} {value}: must not be negative")
    if not 0 <= config.contrast.momentum <= 1:
        raise InputError(f"--contrast.momentum {config.contrast.momentum}: must be between 0 and 1")


def check_batch(config: MocoV2Config, num_images: int, world: World) -> None:
    """The batch must fit the data and divide over processes, backward passes and BatchNorm groups."""
    batch, train = config.train.batch, config.train
    if batch > num_images:
        raise InputError(
            f"batch of {batch} is larger than the {num_images} images in {config.data.root}; "
            f"lower --train.batch or add images"
        )
    shares = world.size * train.accumulate * config.model.bn_groups
    if batch % shares or batch // shares < 2:
        below = max(batch // shares, 2) * shares
        above = below + shares
        raise InputError(
            f"batch of {batch} does not divide over {world.size} processes x {train.accumulate} backward passes x "
            f"{config.model.bn_groups} BatchNorm groups in parts of 2 or more; "
            f"use {below} or {above} (--train.batch {below})"
        )
    if config.model.sync_bn and config.model.bn_groups > 1:
        raise InputError(
            f"--model.sync-bn shares statistics, --model.bn-groups {config.model.bn_groups} splits them; choose one"
        )


def check_contrast(config: MocoV2Config) -> None:
    """A patch needs negatives, and as many as hard mining is to keep."""
    wanted = config.intrinsic
    if wanted.weight > 0:
        count = intrinsic.READINGS[wanted.reading].num_negatives
        available = count(wanted.rows * wanted.columns, wanted.columns, config.train.batch)
        intrinsic.check_negatives(available, wanted.hardest)


def explanations(config: MocoV2Config, plan: Plan, world: World) -> list[str]:
    """What a reader of the log should know about how this run computes."""
    optim, half = config.optim, plan.num_images // 2
    lines = [
        f"{plan.num_images} images, batch {plan.batch}: {plan.steps_per_epoch} steps per epoch, {plan.steps} steps",
        f"learning rate {plan.lr:g} = {optim.lr:g} per {optim.lr_batch} images x {plan.batch} / {optim.lr_batch}",
        batch_norm_line(config, world),
        f"terms: contrast, {term_lines(config)}",
    ]
    if config.contrast.queue > half:
        lines.append(
            f"warning: the queue of {config.contrast.queue} keys holds more than half of the {plan.num_images} images "
            f"({half}); an image then often meets its own older key as a negative (lower --contrast.queue)"
        )
    return lines


def batch_norm_line(config: MocoV2Config, world: World) -> str:
    """Which protection against the BatchNorm leak is on."""
    groups = config.model.bn_groups * config.train.accumulate
    if config.model.sync_bn:
        return f"BatchNorm: statistics over all {world.size} processes (SyncBN), keys not shuffled"
    if world.size > 1:
        return f"BatchNorm: shuffle-BN over {world.size} processes x {groups} groups"
    if groups > 1:
        return f"BatchNorm: one process, {groups} groups with permuted keys"
    return "BatchNorm: one process, one group: query and key share statistics (--model.bn-groups 4 avoids it)"


def term_lines(config: MocoV2Config) -> str:
    """The two I2 terms in words."""
    cut = config.intrinsic
    patches = f" on {cut.rows}x{cut.columns} patches of {'the map' if cut.source == 'map' else 'pixels'}, {cut.preset}"
    terms = ("consistency", config.consistency, ""), ("intrinsic", cut, patches)
    return ", ".join(
        f"{name} {term.reading} x {term.weight:g}{where}" if term.weight else f"no {name}"
        for name, term, where in terms
    )
