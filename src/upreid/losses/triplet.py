"""Triplet loss: a person's images closer to each other than to anybody else's.

Batch-hard mining (Hermans et al., https://arxiv.org/abs/1703.07737).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-12
"""Of a squared distance: the root's gradient is infinite at 0, and ours is 0 from here down."""


def batch_hard_triplet(
    features: Float[Tensor, "batch dim"], people: Int64[Tensor, " batch"], *, margin: float | None
) -> Float[Tensor, ""]:
    """Farthest image of the same person against the nearest of another, by Euclidean distance; `margin` None is soft.

    An image without another of its person counts itself, at distance 0; without another person in the batch the loss is 0.
    Distances come from inner products: in single precision, what is below a thousandth of the features' length is rounding.

        for feature, person in zip(features, people):
            distances = [sqrt(sum((feature - other) ** 2)) for other in features]
            farthest = max(d for d, other in zip(distances, people) if other == person)
            nearest = min(d for d, other in zip(distances, people) if other != person)
            loss += max(0, farthest - nearest + margin) / batch     # soft: log(1 + exp(farthest - nearest))
    """
    distance = pairwise(features)
    is_same = people[:, None] == people
    farthest = distance.masked_fill(~is_same, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(is_same, torch.inf).amin(dim=1)
    gap = farthest - nearest
    return (F.softplus(gap) if margin is None else F.relu(gap + margin)).mean()


def pairwise(features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch batch"]:
    """Euclidean distances, `sqrt(FLOOR)` at least."""
    squares = (features * features).sum(dim=1)
    return (squares[:, None] + squares - 2.0 * features @ features.T).clamp_min(FLOOR).sqrt()
