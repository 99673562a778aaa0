"""Which backbone a set of tensors belongs to, told from names and shapes."""

from functools import cache
from pathlib import Path

import timm
import torch
from torch import Tensor

from upreid.errors import InputError

RESNETS = (
    "resnet50", "resnet101", "resnet152", "resnet18", "resnet34", "resnet26", "resnet50d", "resnet101d",
    "wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d",
)  # fmt: skip
VITS = (
    "vit_small_patch16_224", "vit_base_patch16_224", "vit_tiny_patch16_224", "vit_large_patch16_224",
    "vit_small_patch8_224", "vit_base_patch8_224", "vit_small_patch32_224", "vit_base_patch32_224",
    "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_large_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2", "vit_large_patch14_reg4_dinov2",
)  # fmt: skip

UNCOUNTED = "num_batches_tracked"
"""Batch normalisation's own clock: not a weight, and absent from files older than torch 0.4.1."""

ALIKE = 0.5
"""Less than this and the nearest backbone is no help: the file holds something else."""


def tell_backbone(path: Path, tensors: dict[str, Tensor]) -> str:
    """Return timm's name of the backbone whose tensors are most like these.

    Likeness is |A and B| / |A or B| over pairs of name and shape, so a deeper ResNet, which holds all of a shallower
    one, is told apart. Position embeddings do not count: their shape is that of an input size. Raises InputError
    where nothing is half alike.
    """
    candidates = VITS if "patch_embed.proj.weight" in tensors else RESNETS
    shapes = frozenset((name, tuple(tensor.shape)) for name, tensor in tensors.items() if counts(name))
    likeness = {name: len(shapes & own) / len(shapes | own) for name in candidates for own in [shapes_of(name)]}
    best = max(likeness, key=lambda name: likeness[name])  # among equals the first
    if likeness[best] < ALIKE:
        raise InputError(
            f"{path} holds the tensors of no backbone that upreid can tell from shapes (the nearest, {best}, shares "
            f"{likeness[best]:.0%}); known: {', '.join(candidates)}"
        )
    return best


@cache
def shapes_of(name: str) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a timm model, made without memory or random numbers."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    return frozenset((key, tuple(tensor.shape)) for key, tensor in model.state_dict().items() if counts(key))


def counts(name: str) -> bool:
    """Whether a tensor tells one backbone from another."""
    return name != "pos_embed" and not name.endswith(UNCOUNTED)
