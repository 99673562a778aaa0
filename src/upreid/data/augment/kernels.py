"""Resampling filters, as functions of the distance from the centre in (stretched) pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Kernel:
    """A resampling filter: weights (may reuse their argument's memory) of distances in [0, `support`]."""

    support: float
    weigh: Callable[[Tensor], Tensor]
    overshoots: bool = False
    """Whether it can leave the range of its inputs."""


def triangle(distance: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Linear interpolation."""
    return distance.neg_().add_(1).clamp_(min=0)


def cubic(distance: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Keys' cubic convolution with a = -1/2 (IEEE TASSP 29, 1981), as in Pillow."""
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


TRIANGLE, CUBIC = Kernel(1.0, triangle), Kernel(2.0, cubic, overshoots=True)
KERNELS = {"bilinear": TRIANGLE, "bicubic": CUBIC}
