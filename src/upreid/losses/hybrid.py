"""Hybrid contrast: a feature should find its class among people, clusters, and images that are in no cluster.

SpCL (Ge et al., NeurIPS 2020, https://arxiv.org/abs/2006.02713). The memory holds a unit vector for each person of the
source and for each image of the target. The vector of a class is the mean of its members' vectors, and is not scaled to unit
length again. After a step the members that were seen follow their features (`follow_every` of `losses/cluster.py`), and so do
the means.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


class Members(NamedTuple):
    """The rows of the memory that belong to a class, class by class, and how many each class has (one or more)."""

    rows: Int64[Tensor, " members"]
    sizes: Int64[Tensor, " classes"]


def members_of(classes: Int64[Tensor, " rows"]) -> Members:
    """Sort rows of the memory by their class, from 0 to the largest; rows of class -1 belong to none.

    rows = [row for y in range(max(classes) + 1) for row, own in enumerate(classes) if own == y]
    sizes = [sum(own == y for own in classes) for y in range(max(classes) + 1)]
    """
    order = classes.sort(stable=True).indices
    rows = order[classes[order] >= 0]
    return Members(rows, torch.bincount(classes[rows]))


def class_means(vectors: Float[Tensor, "rows dim"], members: Members) -> Float[Tensor, "classes dim"]:
    """Return the mean of the vectors of each class. The order of the sums is fixed, so that a resumed run has the same bytes.

    for y in range(len(classes)):
        means[y] = mean(vectors[row] for row in members of y)
    """
    return torch.segment_reduce(vectors[members.rows], "mean", lengths=members.sizes, axis=0)


def hybrid_contrast(
    features: Float[Tensor, "batch dim"],
    classes: Int64[Tensor, " batch"],
    vectors: Float[Tensor, "rows dim"],
    members: Members,
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking one's own class by the mean similarity to its members. Inputs are unit vectors.

    Only `features` receive a gradient.

        for f, y in zip(features, classes):
            similarity = [mean(f @ vectors[row] / temperature for row in members of c) for c in all classes]
            loss += -log_softmax(similarity)[y] / batch
    """
    means = class_means(vectors.detach(), members)
    return F.cross_entropy(features @ means.T / temperature, classes)
