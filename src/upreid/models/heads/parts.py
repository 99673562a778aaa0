"""The pieces of heads, and what heads have in common: features of one or several parts, before and after a BatchNorm neck.

A head is called with the backbone, so that it can branch off anywhere. It has the number of features of each part
(`part_dims`), the weight of each part's identity loss (`identity_weights`), the parts that a triplet loss compares together
with the weight of that loss (`triplets`), and the weight of each part in the retrieval feature (`feature_weights`).
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
    """Interface of a head."""

    part_dims: tuple[int, ...]
    identity_weights: tuple[float, ...]
    triplets: tuple[tuple[tuple[int, ...], float], ...]
    feature_weights: tuple[float, ...]

    def __call__(self, backbone: nn.Module, images: Tensor, cameras: Int64[Tensor, " batch"] | None = None) -> Parts:
        """Return the features of normalised images [batch, 3, height, width] that `cameras` took."""
        ...

    def body(self) -> list[nn.Module]:
        """Return the modules that are copies of pieces of the backbone, and so are frozen with it."""
        ...


def neck(features: int) -> nn.BatchNorm1d:
    """Make a BatchNorm without shift (Bag of Tricks, arXiv 1903.07071).

    A shift would move the origin that cosine distances are measured from.
    """
    norm = nn.BatchNorm1d(features)
    norm.bias.requires_grad_(False)
    return norm


def extra_norm(features: int, *, wanted: bool) -> nn.Module:
    """Make LUPerson's extra BatchNorm on a feature map, or a module that does nothing."""
    return nn.BatchNorm2d(features) if wanted else nn.Identity()


class AveragePool(nn.Module):
    """Mean over all places of a map."""

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels"]:
        """Return the mean of each channel."""
        return maps.mean(dim=(2, 3))


class GeM(nn.Module):
    """Generalised mean (Radenovic et al., arXiv 1711.02512): `mean(x ** p) ** (1 / p)` with a learnt p, 3 at the start.

    It is the mean for p = 1 and approaches the maximum for large p. Values below `floor`, negative ones too, count as
    `floor`. It computes in single precision or better, because powers and roots of half-precision numbers overflow.
    """

    def __init__(self, power: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.power, self.floor = nn.Parameter(torch.tensor([power])), floor

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels"]:
        """Return the generalised mean of each channel."""
        exact = maps if maps.dtype.itemsize >= 4 else maps.float()
        return exact.clamp_min(self.floor).pow(self.power).mean(dim=(2, 3)).pow(1.0 / self.power)


POOLS: dict[str, type[nn.Module]] = {"avg": AveragePool, "gem": GeM}
"""Kinds of pooling by their names in recipes."""


def joined(parts: Sequence[Tensor], weights: Sequence[float]) -> Float[Tensor, "batch dim"]:
    """Join the features of the parts, each times its weight, into one."""
    return torch.cat([part if weight == 1.0 else part * weight for part, weight in zip(parts, weights, strict=True)], 1)
