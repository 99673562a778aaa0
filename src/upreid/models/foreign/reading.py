"""Read a checkpoint: its encoder under timm's names, which network that is, and how its images were made ready."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor

from upreid.errors import DataError, InputError
from upreid.models import architectures
from upreid.models.backbone import nearest_model
from upreid.models.foreign.formats import Format
from upreid.models.foreign.naming import EncoderTensors, find_encoder
from upreid.models.foreign.opening import first_few, open_checkpoint, open_tensors
from upreid.models.foreign.positions import tell_grid
from upreid.models.foreign.renaming import UNCOUNTED, rename, tell_domain, tell_format
from upreid.models.foreign.statistics import HALF, Statistics, trained_with

ALIKE = 0.5
"""Least likeness at which the nearest backbone is of any help; below it the file holds something else."""
POSITIONS = "pos_embed"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a user says of a file where neither it nor its format does; None leaves it to them."""

    format: str | None = None
    backbone: str | None = None
    last_stride: Literal[1, 2] | None = None
    patch_stride: int | None = None
    attention_heads: int | None = None
    domain: int | None = None


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """The encoder of somebody else's checkpoint."""

    backbone: str
    """Name of the network, told from the shapes."""
    tensors: dict[str, Tensor]
    """Tensors by timm's names; heads are still among them, and position embeddings are of the size of its training."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    """Kind of training and role that the file seems to come from."""
    sentences: list[str]
    """Sentences for the log on what was decided, and why."""
    size: tuple[int, int] = (256, 128)
    """Height and width of the images of its training: those of its positions, or of its format."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    last_stride: Literal[1, 2] | None = None
    patch_stride: int | None = None
    attention_heads: int | None = None
    head: dict[str, Tensor] = field(default_factory=dict)
    """Tensors of a fine-tuned head by our names, where we have such a head."""
    neck: Literal["after", "before"] = "after"
    """Side of the head's neck from which its program takes features."""
    left: tuple[str, ...] = ()
    """Names of the tensors beside the encoder."""


def read_checkpoint(path: Path, choices: Choices | None = None) -> Foreign:
    """Read the encoder of any format of `vit_formats.py` and `resnet_formats.py`.

    Nothing in the file is executed. Raises DataError where the file cannot be read so, or holds no network that can be told.
    """
    choices = choices or Choices()
    content = open_checkpoint(path)
    first = first_convolution(choices.backbone) if choices.backbone else ""
    encoder = find_encoder(path, open_tensors(path, content), first)
    row = (
        None
        if choices.backbone and not choices.format and not fits_a_row(path, encoder)
        else tell_format(path, encoder, choices.format)
    )
    row, said_by_boxmot = as_boxmot_says(row or Format(name="timm", marks=(), backbones=()), content)
    said_of_domain = tell_domain(path, encoder, row, choices.domain)
    renamed = rename(path, encoder, row, choices.domain)
    backbone = choices.backbone or tell_backbone(path, renamed.backbone, row.backbones)
    source, statistics, reason = normalisation(path, encoder, row, tuned=bool(renamed.head))
    sentences = [f"{path.name} holds a {backbone} ({source})"]
    if renamed.left:
        taken = f"{encoder.role} was taken" if encoder.role else "the encoder was taken"
        beside = first_few(list(dict.fromkeys(name.split(".")[0] for name in renamed.left)))
        sentences.append(f"{taken}; {len(renamed.left)} tensors beside it were left: {beside}")
    if row.note:
        sentences.append(row.note)
    sentences += [*said_by_boxmot, *said_of_domain]
    size, patch_stride, words = tell_size(renamed.backbone, row, choices)
    sentences += words
    last_stride = choices.last_stride or row.last_stride
    if last_stride and re.search("resne[sx]?t|senet", backbone):
        whose = "--last-stride" if choices.last_stride else f"that of the format ({row.name})"
        sentences.append(f"stride {last_stride} in the last stage, {whose}; no weight shows it")
    sentences.append(
        f"mean {statistics.mean} and std {statistics.std} are {statistics.owner}'s, because {reason}; --input.mean and "
        f"--input.std overrule them"
    )
    return Foreign(
        backbone=backbone,
        tensors=renamed.backbone,
        mean=statistics.mean,
        std=statistics.std,
        source=source,
        sentences=sentences,
        size=size,
        interpolation=row.interpolation,
        last_stride=last_stride,
        patch_stride=patch_stride,
        attention_heads=choices.attention_heads,
        head=renamed.head,
        neck=row.neck,
        left=tuple(renamed.left),
    )


def as_boxmot_says(row: Format, content: Mapping[Any, Any]) -> tuple[Format, list[str]]:
    """Return a format with the size of images that a file of BoxMOT states, and sentences on what it states."""
    if not {"model_name", "state_dict", "img_size"} <= content.keys():
        return row, []
    size, how, said = content["img_size"], content.get("preprocess", "resize"), []
    if (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(type(each) is int and 0 < each < 2**12 for each in size)
    ):
        row = replace(row, size=(size[0], size[1]))
        said.append(f"images of {size[0]}x{size[1]}, as BoxMOT wrote into it")
    if how != "resize":
        said.append(
            f"BoxMOT made its images ready by '{how}'; upreid resizes without borders, so features differ a little"
        )
    return row, said


def fits_a_row(path: Path, encoder: EncoderTensors) -> bool:
    """Return whether some format fits, so that its rules apply to a network that the user names."""
    try:
        tell_format(path, encoder)
    except DataError:
        return False
    return True


@cache
def first_convolution(name: str) -> str:
    """Return the name of the first weight of a network that is a convolution; InputError for a network that is not known."""
    assert architectures
    if not timm.is_model(name):
        raise InputError(f"--backbone {name}: unknown{nearest_model(name)}")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    return next((key for key, tensor in model.named_parameters() if tensor.ndim == 4), "")


def normalisation(path: Path, encoder: EncoderTensors, row: Format, *, tuned: bool) -> tuple[str, Statistics, str]:
    """Return the source, the statistics of its images, and why: those in the file win, then the format's, then its name's."""
    role = f", {encoder.role}" if encoder.role else ""
    named = [encoder.tensors.get(name) for name in ("pixel_mean", "pixel_std")]
    if all(tensor is not None and tensor.numel() == 3 for tensor in named):
        mean, std = (triple(tensor) for tensor in named if tensor is not None)
        return (
            f"{row.name}{role}",
            Statistics(owner="the file", mean=mean, std=std),
            "it holds pixel_mean and pixel_std",
        )
    if row.statistics is not None:
        return f"{row.name}{role}", row.statistics, f"{row.name} uses them"
    if tuned and any("patch_embed" in mark or "part_token" in mark for mark in row.marks):
        return f"{row.name}{role}, fine-tuned", HALF, "fine-tuning in TransReID's code uses them"
    is_vit = any("patch_embed" in name for name in encoder.tensors)
    source, statistics, reason = trained_with(path.name, encoder.role, encoder.beside, is_vit=is_vit)
    return source, statistics, reason


def triple(pixels: Tensor) -> tuple[float, float, float]:
    """Return statistics of pixels from 0 to 255 for pixels from 0 to 1."""
    red, green, blue = (round(float(value) / 255.0, 6) for value in pixels.flatten())
    return red, green, blue


def tell_size(
    tensors: dict[str, Tensor], row: Format, choices: Choices
) -> tuple[tuple[int, int], int | None, list[str]]:
    """Return the size of the images, the distance of a ViT's patches where they overlap, and sentences on it."""
    positions, stem = tensors.get(POSITIONS), tensors.get("patch_embed.proj.weight")
    if positions is None or stem is None or not 2 <= positions.ndim <= 3:
        return row.size, choices.patch_stride, []
    patch = stem.shape[-1] * (2 if "patch_embed.conv.0.weight" in tensors else 1)
    prefix = 0 if "cls_pos" in tensors else 1 + ("dist_token" in tensors)
    grid = tell_grid(positions.shape[-2] - prefix, patch, choices.patch_stride)
    if grid is None:
        return row.size, choices.patch_stride, []
    if grid.stride == patch:
        return (grid.height, grid.width), None, []
    sentence = f"patches overlap: one every {grid.stride} pixels, told from {grid.rows}x{grid.columns} positions"
    return (grid.height, grid.width), grid.stride, [sentence]


def tell_backbone(path: Path, tensors: dict[str, Tensor], candidates: tuple[str, ...]) -> str:
    """Return the name of the network whose tensors are most like these.

    Likeness is |A and B| / |A or B| over pairs of name and shape, so a deeper ResNet, which holds all of a shallower
    one, is told apart. Position embeddings do not count: their shape is that of an input size. Raises DataError
    where nothing is half alike.
    """
    shapes = frozenset((name, shape_of(tensor)) for name, tensor in tensors.items() if counts(name))
    likeness = {name: len(shapes & own) / len(shapes | own) for name in candidates for own in [shapes_of(name)]}
    best = max(likeness, key=lambda name: likeness[name])  # among equals the first
    if likeness[best] < ALIKE:
        strange = [name for name, tensor in tensors.items() if (name, shape_of(tensor)) not in shapes_of(best)]
        fault = f"has no place for {first_few(strange, 2)}" if strange else "lacks most of its tensors here"
        raise DataError(
            f"{path} holds the tensors of no backbone that upreid can tell from shapes: the nearest, {best}, shares "
            f"{likeness[best]:.0%} and {fault}; --backbone NAME reads a network of timm's by "
            f"timm's names"
        )
    return best


@cache
def shapes_of(name: str) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes of a model, which is made without memory or random numbers."""
    assert architectures
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    return frozenset((key, shape_of(tensor)) for key, tensor in model.state_dict().items() if counts(key))


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Return a shape without axes of length 1."""
    return tuple(size for size in tensor.shape if size != 1)


def counts(name: str) -> bool:
    """Return whether a tensor tells one backbone from another."""
    return name != POSITIONS and not name.endswith(UNCOUNTED)
