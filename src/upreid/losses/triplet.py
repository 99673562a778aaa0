"""Triplet loss: a person's images closer to each other than to anybody else's.

Batch-hard mining (Hermans et al., https://arxiv.org/abs/1703.07737).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


def batch_hard_triplet(
    features: Float[Tensor, "batch dim"], people: Int64[Tensor, " batch"], *, margin: float | None
) -> Float[Tensor, ""]:
    """Farthest image of the same person against the nearest of another, by Euclidean distance; `margin` None is soft.

    Every image needs another of its person (or counts itself, at distance 0) and the batch two people.

        for i: farthest = max(|f_i - f_j| for j of the same person)
            nearest = min(|f_i - f_j| for j of other people)
            loss += max(0, farthest - nearest + margin) / batch      (soft: log(1 + exp(farthest - nearest)))
    """
    distance = pairwise(features)
    is_same = people[:, None] == people
    farthest = distance.masked_fill(~is_same, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(is_same, torch.inf).amin(dim=1)
    gap = farthest - nearest
    return (F.softplus(gap) if margin is None else F.relu(gap + margin)).mean()


def pairwise(features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch batch"]:
    """Euclidean distances; the floor keeps the root's gradient finite where two features are equal."""
    squares = (features * features).sum(dim=1)
    return (squares[:, None] + squares - 2.0 * features @ features.T).clamp_min(1e-12).sqrt()
