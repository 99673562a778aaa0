"""Where a query's true matches stand in the ranking of the gallery, without ranking the gallery.

The rank of a match is one more than the number of kept entries that come before it. A query has tens of matches among
thousands of entries, so counting beats sorting, and the order of the rest is never needed. Where every match of a query
comes early, as good features have it, sorting those few entries is faster still.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Distances = NDArray[Any]
Labels = NDArray[np.int64]
ELEMENTS_PER_CHUNK = 16_000_000
"""Distances held at a time: 64 MB in single precision."""
FEW = 1 / 16
"""Sort what comes up to a query's last match where that is less than this share of the gallery; else count."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """People and cameras of queries and gallery."""

    query_people: Labels
    query_cameras: Labels
    gallery_people: Labels
    gallery_cameras: Labels


def match_ranks(chunk: Distances, first: int, labels: Labelled, places: dict[int, Labels]) -> list[Labels]:
    """Ranks (from 1, ascending) of the true matches of queries `first`, `first` + 1, ... from their distances.

    `places`: for each person their places in the gallery (see `places_of`). Entries of the same person and camera are
    left out of the ranking. Of equal distances the lower gallery index comes first, as in a stable sort.
    """
    nobody = np.empty(0, dtype=np.int64)
    ranks: list[Labels] = []
    for number, row in enumerate(chunk, start=first):
        same_person = places.get(int(labels.query_people[number]), nobody)
        is_junk = labels.gallery_cameras[same_person] == labels.query_cameras[number]
        matches, junk = same_person[~is_junk], same_person[is_junk]
        if not len(matches):
            ranks.append(nobody)
            continue
        at, junk_at = row[matches], row[junk]
        is_ahead = (junk_at < at[:, None]) | ((junk_at == at[:, None]) & (junk < matches[:, None]))
        ranks.append(np.sort(entries_before(row, matches) - is_ahead.sum(axis=1)) + 1)
    return ranks


def entries_before(row: Distances, matches: Labels) -> Labels:
    """For each of some ascending places in a row of distances: how many entries a stable sort puts before it.

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


def places_of(people: Labels) -> dict[int, Labels]:
    """Person -> ascending places in the gallery."""
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
    """Each feature's product with itself, without a second array of their size."""
    return torch.einsum("id,id->i", features, features)


def top_ranked(
    query: NDArray[np.float32], gallery: NDArray[np.float32], labels: Labelled, *, k: int, metric: str = "cosine"
) -> tuple[list[Labels], list[NDArray[np.bool_]]]:
    """For each query the gallery places of its first `k` kept entries, and which of them are true matches."""
    places: list[Labels] = []
    hits: list[NDArray[np.bool_]] = []
    number = 0
    for chunk in distance_chunks(query, gallery, metric=metric):
        for row in chunk:
            is_same = labels.gallery_people == labels.query_people[number]
            kept = np.flatnonzero(~(is_same & (labels.gallery_cameras == labels.query_cameras[number])))
            best = kept[np.argsort(row[kept], kind="stable")[:k]]
            places.append(best)
            hits.append(is_same[best])
            number += 1
    return places, hits
