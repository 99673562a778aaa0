"""From a feature map to one vector: plain and generalised mean."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


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
