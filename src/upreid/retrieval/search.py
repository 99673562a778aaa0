"""The nearest entries of a gallery for each query, exactly, in blocks of the gallery."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

BLOCK = 65_536
"""Number of gallery entries that are compared at a time."""
TOGETHER = 256
"""Number of queries that are compared at a time."""


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest gallery entries of some queries, nearest first; of equals the one that comes first in the gallery."""

    places: Int64[Tensor, "queries k"]
    distances: Float[Tensor, "queries k"]
    """Cosine distance (1 - cosine, 0 to 2), or Euclidean distance."""


def search(
    query: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "gallery dim"],
    *,
    k: int,
    metric: str = "cosine",
    block: int = BLOCK,
) -> Nearest:
    """Find the `k` nearest gallery entries of each query, or all where there are fewer; `metric`: cosine or euclidean.

    Memory beyond the features is about `TOGETHER` x (`block` + k) numbers a few times over.
    """
    if metric == "cosine":
        query, gallery = F.normalize(query), F.normalize(gallery)
    parts = [search_together(part, gallery, k=k, metric=metric, block=block) for part in query.split(TOGETHER)]
    return Nearest(
        places=torch.cat([part.places for part in parts]), distances=torch.cat([part.distances for part in parts])
    )


def search_together(
    query: Float[Tensor, "queries dim"], gallery: Float[Tensor, "gallery dim"], *, k: int, metric: str, block: int
) -> Nearest:
    """Find the nearest entries of a few queries; for cosine distances all features have unit length."""
    places = torch.empty(len(query), 0, dtype=torch.long)
    distances = torch.empty(len(query), 0)
    for first in range(0, len(gallery), block):
        part = gallery[first : first + block]
        found = 1 - query @ part.T if metric == "cosine" else torch.cdist(query, part)
        own = torch.arange(first, first + len(part)).expand(len(query), -1)
        distances, order = torch.cat([distances, found.clamp(min=0)], dim=1).sort(dim=1, stable=True)
        places = torch.cat([places, own], dim=1).gather(1, order[:, :k])
        distances = distances[:, :k]
    return Nearest(places=places, distances=distances)
