"""Which clusters, and which images of them, a looser and a tighter clustering confirm: the reliability criterion of SpCL.

Ge et al., NeurIPS 2020, https://arxiv.org/abs/2006.02713. A cluster is *independent* where a looser clustering (a larger eps)
hardly makes it larger, and an image lies *compactly* in it where a tighter clustering (a smaller eps) hardly makes it smaller.
Both are the intersection over union of the two clusters that an image belongs to. From images to clusters, as in the paper's
public code:

- the independence of a cluster is the best of its images', and the cluster counts where it reaches the independence that nine in
  ten clusters of the first clustering reach;
- an image stays in its cluster where no other image of it lies more compactly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upreid.retrieval.ranking import IntArray

INDEPENDENT_SHARE = 0.9
"""Share of the first clustering's clusters that are independent."""


@dataclass(frozen=True, kw_only=True)
class ReliableClusters:
    """What is left of a clustering."""

    labels: IntArray
    """Cluster of each image, from 0 in the order of the former numbers; -1 for images of none."""
    independence: float | None
    """Least independence of a cluster that counts; None as long as there has been no cluster."""


def reliable(
    labels: IntArray, looser: IntArray, tighter: IntArray, independence: float | None = None
) -> ReliableClusters:
    """Keep the images of a clustering that are reliable, from their labels in three clusterings (-1 for outliers).

    `independence` is the threshold that an earlier clustering has fixed; without one it is that of these clusters. A cluster of
    which one image is left is no cluster.

        for y in clusters:
            independent = max(overlap(image, looser) for image in y)
            compact = max(overlap(image, tighter) for image in y)
            kept = [image for image in y if independent >= independence and overlap(image, tighter) == compact]
            new clusters += [kept] if len(kept) > 1 else []
    """
    where, own = np.flatnonzero(labels >= 0), labels[labels >= 0]
    if not len(own):
        return ReliableClusters(labels=labels, independence=independence)
    compact = overlaps(labels, tighter)[where]
    most_independent, most_compact = np.zeros(own.max() + 1), np.zeros(own.max() + 1)
    np.maximum.at(most_independent, own, overlaps(labels, looser)[where])
    np.maximum.at(most_compact, own, compact)
    if independence is None:
        sizes = np.bincount(own)
        ranked = np.sort(most_independent[sizes > 1])[::-1]
        if not len(ranked):
            return ReliableClusters(labels=np.full_like(labels, -1), independence=None)
        independence = float(ranked[min(len(ranked) - 1, round(INDEPENDENT_SHARE * len(ranked)))])
    is_kept = (most_independent[own] >= independence) & (compact == most_compact[own])
    is_kept &= np.bincount(own, is_kept, minlength=own.max() + 1)[own] > 1
    kept = np.full_like(labels, -1)
    _, kept[where[is_kept]] = np.unique(own[is_kept], return_inverse=True)
    return ReliableClusters(labels=kept, independence=independence)


def overlaps(labels: IntArray, others: IntArray) -> NDArray[np.float64]:
    """Return the intersection over union of each image's clusters in two clusterings; an outlier is a cluster of its own."""
    pairs = np.stack([own_clusters(labels), own_clusters(others)])
    _, place, counts = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    shared = counts[place.reshape(-1)]
    first, second = (np.bincount(one)[one] for one in pairs)
    return shared / (first + second - shared)


def own_clusters(labels: IntArray) -> IntArray:
    """Give every outlier a number of its own behind those of the clusters."""
    first = int(labels.max(initial=-1)) + 1
    return np.where(labels >= 0, labels, first + np.cumsum(labels < 0) - 1)
