"""Numbers that make no sense, refused by flag before anything is read or written."""

from typing import Any

from upreid.config.finetune import FinetuneConfig
from upreid.errors import InputError


def check_pretraining(config: Any) -> None:
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


def check_finetuning(config: FinetuneConfig) -> None:
    """Raise InputError for a number outside its range."""
    train, optim, wanted, loss, head = config.train, config.optim, config.input, config.loss, config.head
    at_least = {
        "--train.identities": (train.identities, 2),  # batch-hard mining needs somebody else,
        "--train.images": (train.images, 2),  # and another image of the same person
        "--train.steps": (1 if train.steps is None else train.steps, 1),
        "--train.save-every": (train.save_every, 1),
        "--train.keep-states": (train.keep_states, 1),
        "--train.freeze-epochs": (train.freeze_epochs, 0),
        "--input.pad": (wanted.pad, 0),
        "--loss.margin": (loss.margin, 0),
        "--loss.triplet-weight": (loss.triplet_weight, 0),
        "--optim.weight-decay": (optim.weight_decay, 0),
        "--optim.warmup-epochs": (optim.warmup_epochs, 0),
        "--optim.warmup-steps": (optim.warmup_steps or 0, 0),
        "--optim.plateau-epochs": (optim.plateau_epochs, 0),
        "--optim.final-lr": (optim.final_lr, 0),
        "--head.embed-dim": (head.embed_dim, 1),
        "--head.camera-weight": (head.camera_weight, 0),
    }
    for flag, (value, least) in at_least.items():
        if not value >= least:
            raise InputError(f"{flag} {value}: must be at least {least}")
    above_zero = {"--optim.lr": optim.lr, "--train.epochs": train.epochs, "--loss.circle-scale": loss.circle_scale}
    for flag, value in above_zero.items():
        if not value > 0:
            raise InputError(f"{flag} {value}: must be above 0")
    shares = {
        "--input.flip-probability": wanted.flip_probability,
        "--input.erase-probability": wanted.erase_probability,
        "--loss.smoothing": loss.smoothing,
        "--loss.circle-margin": loss.circle_margin,
        "--optim.warmup-start": optim.warmup_start,
    }
    for flag, value in shares.items():
        if not 0 <= value <= 1:
            raise InputError(f"{flag} {value}: must be between 0 and 1")
