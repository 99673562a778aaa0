"""Triplet loss with batch-hard mining: images of a person should be closer to each other than to images of other people.

Hermans et al., https://arxiv.org/abs/1703.07737.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-12
"""Least squared distance: the gradient of the square root is infinite at 0, and at or below this value ours is 0."""


def batch_hard_triplet(
    features: Float[Tensor, "batch dim"], people: Int64[Tensor, " batch"], *, margin: float | None
) -> Float[Tensor, ""]:
    """Compare the farthest image of the same person with the nearest of another; without a `margin` the loss is soft.

    Distances are Euclidean. An image that is alone of its person counts itself, at distance 0; where the batch holds one person
    the loss is 0. Distances come from inner products: in single precision, differences below a thousandth of the features'
    length are rounding. Only `features` receives a gradient.

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
    """Return the Euclidean distances of all pairs, each at least `sqrt(FLOOR)`."""
    squares = (features * features).sum(dim=1)
    return (squares[:, None] + squares - 2.0 * features @ features.T).clamp_min(FLOOR).sqrt()
