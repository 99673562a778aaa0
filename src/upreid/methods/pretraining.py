"""What methods that pre-train have in common: how a configuration becomes a backbone, and what the encoder file says."""

from dataclasses import dataclass

import torch
from torch import nn

from upreid.config.pretrain import PretrainConfig
from upreid.models.backbone import create_backbone
from upreid.models.header import EncoderHeader
from upreid.runtime.distributed import ALONE, World
from upreid.types import Preprocess

LICENCE_NOTE = (
    "made from the images of whoever ran the pre-training; their terms decide what the weights may be used for"
)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a method is built for, besides its configuration."""

    device: torch.device
    num_images: int
    steps_per_epoch: int
    world: World = ALONE


def preprocess(config: PretrainConfig) -> Preprocess:
    """Input size and normalisation of a pre-training run."""
    wanted = config.augment
    return Preprocess(height=wanted.height, width=wanted.width, mean=wanted.mean, std=wanted.std)


def num_steps(config: PretrainConfig, steps_per_epoch: int) -> int:
    """Return the length of a pre-training in steps."""
    train = config.train
    return train.steps if train.steps is not None else max(round(train.epochs * steps_per_epoch), 1)


def seeded_backbone(config: PretrainConfig) -> nn.Module:
    """Make the backbone with the weights of `train.seed`; heads that are made next continue its random numbers."""
    torch.manual_seed(config.train.seed)
    wanted = config.model
    return create_backbone(
        wanted.backbone,
        height=config.augment.height,
        width=config.augment.width,
        channels=wanted.channels,
        last_stride=wanted.last_stride,
    )


def header_of(config: PretrainConfig) -> EncoderHeader:
    """Return what the encoder file says about itself; the trainer adds step and hash."""
    return EncoderHeader(
        backbone=config.model.backbone,
        channels=config.model.channels,
        last_stride=config.model.last_stride,
        height=config.augment.height,
        width=config.augment.width,
        mean=config.augment.mean,
        std=config.augment.std,
        recipe=config.recipe,
        licence_note=LICENCE_NOTE,
    )
