"""What a fine-tuning or an adaptation begins with: an encoder of ours, weights made elsewhere, or random ones."""

from dataclasses import replace
from pathlib import Path

import timm
import torch
from torch import nn

from upreid.config.downstream import DownstreamConfig
from upreid.errors import InputError
from upreid.models.backbone import STAGED, create_backbone, require_resnet, set_last_stride
from upreid.models.encoder import (
    ENCODER_FILE,
    MODEL_FILE,
    Encoder,
    encoder_file,
    fit_to_header,
    is_encoder_file,
    load_encoder,
    read_file,
)
from upreid.models.foreign import from_tag, make_encoder, read_checkpoint
from upreid.models.header import EncoderHeader

ENCODER_FILES = (ENCODER_FILE, MODEL_FILE)
OVERRULED = ("height", "width", "mean", "std", "interpolation", "last_stride")
"""What `[input]` may say otherwise than the encoder's header."""


def starting_point(config: DownstreamConfig) -> tuple[Encoder, list[str]]:
    """The encoder to begin with, flags applied over its header, and sentences on which of the two decided what.

    Its head, if it was fine-tuned before, is left behind.
    """
    encoder, source, sentences = find(config)
    given = {
        name: value
        for name in OVERRULED
        if (value := getattr(config.input, name)) is not None and value != getattr(encoder.header, name)
    }
    header = replace(encoder.header, head=None, calibration=None, **given)
    sentences.append(f"backbone {header.backbone} from {source}")
    for name in OVERRULED:
        flag = f"--input.{name.replace('_', '-')} (recipe or command line)"
        said = getattr(config.input, name) is not None
        sentences.append(f"{name} {getattr(header, name)} from {flag if said else source}")
    if "last_stride" in given:
        set_last_stride(
            require_resnet(encoder.backbone, header.backbone, "--input.last-stride", "set it to None", STAGED),
            given["last_stride"],
        )
    start = Encoder(encoder.backbone, header)
    if not {"height", "width"}.isdisjoint(given):
        fit_to_header(start)
    return start, sentences


def find(config: DownstreamConfig) -> tuple[Encoder, str, list[str]]:
    """Return the encoder that `--init` names, the words for where it comes from, and what is to be said of it."""
    init, path = config.init, Path(config.init)
    if init == "random":
        return random_start(config), "[random] of the recipe", []
    if path.is_dir() and (any((path / name).is_file() for name in ENCODER_FILES) or not timm.is_model(init)):
        path = encoder_file(path)
    if path.is_file() and is_encoder_file(path):
        return load_encoder(path), "the encoder's header", []
    if path.is_file():
        return from_elsewhere(config, path)
    if timm.is_model(init):
        net, mean, std, sentences = from_tag(init, height=size(config)[0], width=size(config)[1])
        return with_header(config, net, init, mean, std), f"timm's {init} and [random] of the recipe", sentences
    raise InputError(
        f"--init {init}: no such file, and no model of timm's; give the folder of a run or its encoder.safetensors, a "
        f"checkpoint of LUPerson's or MoCo's, a timm tag such as resnet50.a1_in1k, or the word random"
    )


def saved_size(init: str) -> tuple[int, int] | None:
    """Return height and width of the input of the encoder file that `--init` names; None where it names something else."""
    path = Path(init)
    path = next((path / name for name in ENCODER_FILES if (path / name).is_file()), path)
    if not (path.is_file() and is_encoder_file(path)):
        return None
    header, _ = read_file(path)
    return header.height, header.width


def from_elsewhere(config: DownstreamConfig, path: Path) -> tuple[Encoder, str, list[str]]:
    """A checkpoint that another program wrote."""
    foreign = read_checkpoint(path)
    height, width = size(config)
    encoder, report = make_encoder(foreign, path, height=height, width=width)
    return encoder, f"{path.name} ({foreign.source})", [*foreign.sentences, *report]


def random_start(config: DownstreamConfig) -> Encoder:
    """An untrained encoder, with weights of `train.seed`."""
    wanted = config.random
    torch.manual_seed(config.train.seed)
    backbone = create_backbone(wanted.backbone, height=wanted.height, width=wanted.width, channels=wanted.channels)
    return with_header(config, backbone, wanted.backbone, wanted.mean, wanted.std, channels=wanted.channels)


def size(config: DownstreamConfig) -> tuple[int, int]:
    """Input size of an encoder that has no header of its own."""
    return config.input.height or config.random.height, config.input.width or config.random.width


def with_header(
    config: DownstreamConfig,
    backbone: nn.Module,
    name: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    channels: int | None = None,
) -> Encoder:
    """Give a backbone the header that a file would have brought; its size is that of `[random]`."""
    height, width = (config.random.height, config.random.width) if config.init == "random" else size(config)
    header = EncoderHeader(
        backbone=name, channels=channels, last_stride=None, height=height, width=width, mean=mean, std=std
    )
    return Encoder(backbone, header)
