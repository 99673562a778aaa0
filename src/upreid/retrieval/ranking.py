"""Where a query's true matches stand in the ranking of the gallery, without ranking the gallery.

The rank of a match is one more than the number of kept entries that come before it. A query has tens of matches among
thousands of entries, so counting beats sorting, and the order of the rest is never needed. Where every match of a query
comes early, as good features have it, sorting those few entries is faster still.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from upreid.errors import InputError

Distances = NDArray[Any]
IntArray = NDArray[np.int64]
ELEMENTS_PER_CHUNK = 16_000_000
"""Distances held at a time: 64 MB in single precision."""
FEW = 1 / 16
"""Share of the gallery up to which the entries before a query's last match are sorted; above it, counting is faster."""
UNKNOWN = int(np.iinfo(np.int64).min)
"""Camera of an image whose camera is not known: it is no other image's camera."""
NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """People and cameras of queries and gallery."""

    query_people: IntArray
    query_cameras: IntArray
    gallery_people: IntArray
    gallery_cameras: IntArray


@dataclass(frozen=True, kw_only=True)
class RankedQuery:
    """How the gallery is ranked for one query."""

    ranks: IntArray
    """Ranks of the true matches, ascending from 1; empty where there is no match."""
    nearest: int = -1
    """Place in the gallery of the nearest true match; -1 where there is no match."""
    is_tied: bool = False
    """Whether an image of somebody else is exactly as far away as the nearest match, so that the gallery's order decides."""
    first: IntArray = field(default_factory=NOTHING.copy)
    """Places in the gallery of the nearest entries, as many as were asked for."""


def rank_queries(chunks: Iterable[Distances], labels: Labels, *, first: int = 0) -> list[RankedQuery]:
    """Rank the gallery for every query, from distances that come some rows at a time, in the order of the queries.

    Entries of the query's person and camera are left out of the ranking. Of equal distances the lower gallery index comes
    first, as in a stable sort. `first`: number of nearest entries to keep for each query.

    Raises InputError for distances that are not numbers or do not fit the labels.
    """
    places = places_of(labels.gallery_people)
    entries, ranked = len(labels.gallery_people), list[RankedQuery]()
    for chunk in chunks:
        if chunk.shape[1:] != (entries,):
            raise InputError(
                f"distances have shape {chunk.shape}; expected a column for each of {entries} gallery labels"
            )
        if np.isnan(chunk.min()):
            raise InputError(f"distances of query {len(ranked)} or shortly after are NaN; look for NaN in the features")
        if len(ranked) + len(chunk) > len(labels.query_people):
            raise InputError(
                f"distances of more than {len(labels.query_people)} queries came, and there are no more labels"
            )
        ranked += [
            rank(row, number, labels, places, first=first) for number, row in enumerate(chunk, start=len(ranked))
        ]
    if len(ranked) != len(labels.query_people):
        raise InputError(f"distances for {len(ranked)} queries came, labels for {len(labels.query_people)}")
    return ranked


def rank(row: Distances, query: int, labels: Labels, places: dict[int, IntArray], *, first: int = 0) -> RankedQuery:
    """Rank the gallery for one query by its `row` of distances; `places`: of each person in the gallery (`places_of`)."""
    same_person = places.get(int(labels.query_people[query]), NOTHING)
    camera = labels.query_cameras[query]
    is_junk = (labels.gallery_cameras[same_person] == camera) & (camera != UNKNOWN)
    matches, junk = same_person[~is_junk], same_person[is_junk]
    best = first_entries(row, junk, first) if first else NOTHING
    if not len(matches):
        return RankedQuery(ranks=NOTHING, first=best)
    at, junk_at = row[matches], row[junk]
    is_ahead = (junk_at < at[:, None]) | ((junk_at == at[:, None]) & (junk < matches[:, None]))
    ranks = np.sort(entries_before(row, matches) - is_ahead.sum(axis=1)) + 1
    nearest = int(at.argmin())
    as_near = np.count_nonzero(row == at[nearest]) - np.count_nonzero(row[same_person] == at[nearest])
    return RankedQuery(ranks=ranks, nearest=int(matches[nearest]), is_tied=bool(as_near > 0), first=best)


def first_entries(row: Distances, junk: IntArray, count: int) -> IntArray:
    """Return the places of the `count` nearest entries in a row of distances, but for `junk`, nearest first."""
    wanted = min(count + len(junk), len(row))
    limit = np.partition(row, wanted - 1)[wanted - 1]
    near = np.flatnonzero(row <= limit)
    near = near[np.argsort(row[near], kind="stable")]
    return near[~np.isin(near, junk)][:count]


def entries_before(row: Distances, matches: IntArray) -> IntArray:
    """Count, for each of some ascending places in a row of distances, the entries that a stable sort puts before it.

    for match in matches:
        before = sum(row[j] < row[match] or (row[j] == row[match] and j < match) for j in range(len(row)))
    """
    at = row[matches]
    near = np.flatnonzero(row <= at.max())
    if len(near) < FEW * len(row):
        before = np.empty_like(near)
        before[np.argsort(row[near], kind="stable")] = np.arange(len(near))
        return before[np.searchsorted(near, matches)]
    counts = [
        np.count_nonzero(row[:place] <= distance) + np.count_nonzero(row[place:] < distance)
        for distance, place in zip(at, matches, strict=True)
    ]
    return np.array(counts, dtype=np.int64)


def places_of(people: IntArray) -> dict[int, IntArray]:
    """Return the ascending places of each person in the gallery."""
    order = np.argsort(people, kind="stable")
    values, starts = np.unique(people[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=True))


def distance_chunks(
    query: NDArray[np.float32], gallery: NDArray[np.float32], *, metric: str
) -> Iterator[NDArray[np.float32]]:
    """Yield distances of some queries at a time to the whole gallery: cosine (1 - similarity) or squared Euclidean."""
    left, right = torch.from_numpy(query), torch.from_numpy(gallery)
    rows = max(ELEMENTS_PER_CHUNK // len(gallery), 1)
    if metric == "cosine":
        right = F.normalize(right)
        for part in left.split(rows):
            yield (F.normalize(part) @ right.T).neg_().add_(1.0).numpy()
    else:
        squares = squared_lengths(right)
        for part in left.split(rows):
            yield (part @ right.T).mul_(-2.0).add_(squared_lengths(part)[:, None] + squares).numpy()


def squared_lengths(features: Float[Tensor, "images dim"]) -> Float[Tensor, " images"]:
    """Multiply each feature with itself, without a second array of their size."""
    return torch.einsum("id,id->i", features, features)
