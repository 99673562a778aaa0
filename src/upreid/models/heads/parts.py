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


class AveragePool(nn.Module):
    """The mean over all places."""

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels"]:
        """Average."""
        return maps.mean(dim=(2, 3))


class GeM(nn.Module):
    """Generalised mean (Radenovic et al., arXiv 1711.02512): `mean(x ** p) ** (1 / p)` with a learnt p, 3 at the start.

    p = 1 is the mean, a large p the maximum. What is below `floor` counts as `floor`, also what is negative. In single
    precision at least: powers and roots of half-precision numbers overflow.
    """

    def __init__(self, power: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.power, self.floor = nn.Parameter(torch.tensor([power])), floor

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels"]:
        """Pool."""
        exact = maps if maps.dtype.itemsize >= 4 else maps.float()
        return exact.clamp_min(self.floor).pow(self.power).mean(dim=(2, 3)).pow(1.0 / self.power)


POOLS: dict[str, type[nn.Module]] = {"avg": AveragePool, "gem": GeM}
"""By name."""


def joined(parts: Sequence[Tensor], weights: Sequence[float]) -> Float[Tensor, "batch dim"]:
    """One feature from those of the parts."""
    return torch.cat([part if weight == 1.0 else part * weight for part, weight in zip(parts, weights, strict=True)], 1)
