"""Where a query's true matches stand in the ranking of the gallery, without ranking the gallery.

The rank of a match is one more than the number of kept entries that come before it. So a sorted row of distances and two
look-ups per match are enough; the order of the other entries is never needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Distances = NDArray[np.floating]
Labels = NDArray[np.int64]
ELEMENTS_PER_CHUNK = 16_000_000
"""Distances held at a time: 64 MB in single precision, and as much again for their sorted copy."""


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
    ordered = np.sort(chunk, axis=1)
    nobody = np.empty(0, dtype=np.int64)
    ranks: list[Labels] = []
    for number, (row, sorted_row) in enumerate(zip(chunk, ordered, strict=True), start=first):
        same_person = places.get(int(labels.query_people[number]), nobody)
        is_junk = labels.gallery_cameras[same_person] == labels.query_cameras[number]
        matches, junk = same_person[~is_junk], same_person[is_junk]
        at = row[matches]
        before = np.searchsorted(sorted_row, at, side="left")
        before = before + ties_before(row, sorted_row, matches, before)
        junk_at = row[junk][None]
        is_ahead = (junk_at < at[:, None]) | ((junk_at == at[:, None]) & (junk[None] < matches[:, None]))
        ranks.append(np.sort(before - is_ahead.sum(axis=1)) + 1)
    return ranks


def ties_before(row: Distances, sorted_row: Distances, matches: Labels, before: Labels) -> Labels:
    """For each match the number of entries at its very distance with a lower index."""
    count = np.zeros_like(before)
    after = np.searchsorted(sorted_row, row[matches], side="right")
    for place in np.flatnonzero(after - before > 1):
        match = matches[place]
        count[place] = np.count_nonzero(row[:match] == row[match])
    return count


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
    if metric == "cosine":
        left, right = torch.nn.functional.normalize(left), torch.nn.functional.normalize(right)
    rows = max(ELEMENTS_PER_CHUNK // len(gallery), 1)
    norms = (right * right).sum(dim=1)
    for part in left.split(rows):
        products = part @ right.T
        if metric == "cosine":
            yield (1.0 - products).numpy()
        else:
            yield ((part * part).sum(dim=1, keepdim=True) + norms - 2.0 * products).numpy()


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
