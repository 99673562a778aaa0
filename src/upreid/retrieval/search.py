"""The nearest entries of a gallery for each query, exactly: found by torch in blocks, or by faiss, and measured again."""

import importlib.util
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from upreid.errors import InputError

BLOCK = 65_536
"""Number of gallery entries that are compared at a time."""
TOGETHER = 256
"""Number of queries that are compared at a time."""
SPARE = 16
"""Number of entries beyond k that are found in single precision, before distances in double precision decide."""


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
    engine: str = "torch",
    block: int = BLOCK,
) -> Nearest:
    """Find the `k` nearest gallery entries of each query, or all where there are fewer; `metric`: cosine or euclidean.

    Memory beyond the features is about `TOGETHER` x (`block` + k) numbers a few times over. Blocks and the `engine`, torch or
    faiss, change nothing, unless more than `SPARE` entries lie within single precision of the last one.

    Raises InputError where faiss is wanted and not installed.
    """
    if engine == "faiss":
        require_faiss()
    if metric == "cosine":
        query, gallery = F.normalize(query), F.normalize(gallery)
    parts = list[Nearest]()
    for part in query.split(TOGETHER):
        wanted = k + SPARE
        found = by_faiss(part, gallery, wanted) if engine == "faiss" else in_blocks(part, gallery, wanted, block)
        parts.append(measured(part, gallery, found, k=k, metric=metric))
    return Nearest(
        places=torch.cat([part.places for part in parts]), distances=torch.cat([part.distances for part in parts])
    )


def in_blocks(
    query: Float[Tensor, "queries dim"], gallery: Float[Tensor, "gallery dim"], wanted: int, block: int
) -> Int64[Tensor, "queries wanted"]:
    """Return the places of the nearest entries of a few queries, or of all where there are fewer."""
    places = torch.empty(len(query), 0, dtype=torch.long)
    distances = torch.empty(len(query), 0)
    for first in range(0, len(gallery), block):
        part = gallery[first : first + block]
        own = torch.arange(first, first + len(part)).expand(len(query), -1)
        distances, places = torch.cat([distances, torch.cdist(query, part)], dim=1), torch.cat([places, own], dim=1)
        distances, order = distances.topk(min(wanted, distances.shape[1]), largest=False)
        places = places.gather(1, order)
    return places


def by_faiss(
    query: Float[Tensor, "queries dim"], gallery: Float[Tensor, "gallery dim"], wanted: int
) -> Int64[Tensor, "queries wanted"]:
    """Return what `in_blocks` does, by faiss."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    _, found = faiss.knn(query.numpy(), gallery.numpy(), min(wanted, len(gallery)))  # by squared Euclidean distance
    return torch.from_numpy(found)


def measured(
    query: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "gallery dim"],
    candidates: Int64[Tensor, "queries candidates"],
    *,
    k: int,
    metric: str,
) -> Nearest:
    """Order candidates by distances in double precision; of equal ones the first in the gallery comes first."""
    candidates, rows = candidates.sort(dim=1).values, list[Tensor]()
    for one, places in zip(query.double(), candidates, strict=True):
        part = gallery[places].double()
        rows.append(1 - part @ one if metric == "cosine" else (part - one).norm(dim=1))
    distances, order = torch.stack(rows).clamp(min=0).sort(dim=1, stable=True)
    return Nearest(places=candidates.gather(1, order)[:, :k], distances=distances[:, :k].float())


def require_faiss() -> None:
    """Raise InputError where faiss is not installed."""
    if importlib.util.find_spec("faiss") is None:
        raise InputError(
            "--engine faiss needs faiss-cpu; install it (pip install 'upreid[faiss]'), or leave --engine out"
        )
