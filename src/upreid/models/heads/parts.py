"""What every head makes of an image: features of one or several parts, before and after a BatchNorm neck.

A head is called with the backbone, so that it can branch off where it likes. It says how its parts are weighed:
`part_dims`, `identity_weights` (per part, of the identity losses), `triplets` (parts that are compared together, and the
weight of that triplet loss) and `feature_weights` (per part, in the feature that retrieval uses).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from upreid.models.pooling import POOLS


@dataclass(frozen=True)
class Parts:
    """Features of each part, before and after its neck."""

    before: tuple[Float[Tensor, "batch _"], ...]
    after: tuple[Float[Tensor, "batch _"], ...]


@runtime_checkable
class Head(Protocol):
    """What heads have in common."""

    part_dims: tuple[int, ...]
    identity_weights: tuple[float, ...]
    triplets: tuple[tuple[tuple[int, ...], float], ...]
    feature_weights: tuple[float, ...]

    def __call__(self, backbone: nn.Module, images: Tensor, cameras: Int64[Tensor, " batch"] | None = None) -> Parts:
        """Features of normalised images [batch, 3, height, width] seen by `cameras`."""
        ...

    def body(self) -> list[nn.Module]:
        """What is a copy of a piece of the backbone, and so is frozen with it."""
        ...


def neck(features: int) -> nn.BatchNorm1d:
    """A BatchNorm without shift (Bag of Tricks, arXiv 1903.07071).

    A shift would move the origin that cosine distances are measured from.
    """
    norm = nn.BatchNorm1d(features)
    norm.bias.requires_grad_(False)
    return norm


def extra_norm(features: int, *, wanted: bool) -> nn.Module:
    """LUPerson's extra BatchNorm on a feature map, or nothing."""
    return nn.BatchNorm2d(features) if wanted else nn.Identity()


def make_pool(name: str) -> nn.Module:
    """A pool by name."""
    return POOLS[name]()


def joined(parts: Sequence[Tensor], weights: Sequence[float]) -> Float[Tensor, "batch dim"]:
    """One feature from those of the parts."""
    return torch.cat([part if weight == 1.0 else part * weight for part, weight in zip(parts, weights, strict=True)], 1)
