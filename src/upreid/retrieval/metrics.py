"""Retrieval metrics for re-identification, and the protocol they stand for.

Two conventions of average precision are in use; both are given. *Rectangle*: mean over hits of k / rank_k (fast-reid,
torchreid, BoT, TransReID). *Trapezoid*: mean over hits of (k / rank_k + (k - 1) / (rank_k - 1)) / 2, the second term 1 where
the first hit has rank 1 (the original Market-1501 code, LUPerson's pre-training).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from upreid.errors import InputError
from upreid.retrieval.inputs import LabelList, as_feature_pair, as_labels
from upreid.retrieval.ranking import (
    UNKNOWN,
    Distances,
    IntArray,
    Labels,
    RankedQuery,
    distance_chunks,
    places_of,
    rank_queries,
)

CMC_RANKS = (1, 5, 10)
SAME_CAMERA = ("drop", "keep")
COPY = 1e-5
"""Difference of two features, as a share of the largest value in one, up to which both are taken for one picture."""


def evaluate_features(
    query_features: ArrayLike | Tensor,
    gallery_features: ArrayLike | Tensor,
    query_ids: LabelList,
    gallery_ids: LabelList,
    query_cameras: LabelList | None = None,
    gallery_cameras: LabelList | None = None,
    *,
    metric: str = "cosine",
    same_camera: str = "drop",
) -> dict[str, Any]:
    """Rank a gallery [gallery, dim] for each query [queries, dim]; arrays, lists or tensors.

    Persons and cameras are whole numbers or words. A camera that is None, or a missing list of cameras, is unknown.

    Returns percentages `mAP` (rectangle), `mAP_trapezoid`, `rank1`, `rank5`, `rank10`, `mINP`, all means over the queries
    that have a true match left, and `protocol`, with `remarks` on what makes the numbers doubtful. Gallery entries of the
    query's person and camera do not count, unless `same_camera` is `keep`. Distances are computed in single precision, some
    queries at a time; last bits may depend on the machine's matrix product.

    Raises InputError for shapes that do not fit, features that are not finite or without direction, labels that are neither
    whole numbers nor words, an unknown metric, and sets in which no query has a match.
    """
    query, gallery = as_feature_pair(query_features, gallery_features, metric)
    people, cameras = (query_ids, gallery_ids), (query_cameras, gallery_cameras)
    labels = as_labels(people, cameras, (len(query), len(gallery)))
    chunks = distance_chunks(query, gallery, metric=metric)
    return evaluate_chunks(chunks, labels, query, gallery, metric=metric, same_camera=same_camera)[0]


def evaluate_chunks(
    chunks: Iterable[Distances],
    labels: Labels,
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    *,
    metric: str,
    same_camera: str,
    first: int = 0,
) -> tuple[dict[str, Any], list[RankedQuery]]:
    """Evaluate distances of features, re-ranked or not; return the result, and the ranking with its `first` entries."""
    ranked = rank_queries(chunks, with_rule(labels, same_camera), first=first)
    result = summarise(ranked, labels, same_camera=same_camera)
    result["protocol"] |= {"metric": metric, "dimensions": query.shape[1]}
    result["protocol"]["remarks"] = remarks(ranked, labels, query, gallery)
    return result, ranked


def evaluate_distances(chunks: Iterable[Distances], labels: Labels, *, same_camera: str = "drop") -> dict[str, Any]:
    """Evaluate distances that come some rows at a time, in the order of the queries; smaller is nearer.

    Raises InputError for distances that are not numbers or do not fit the labels, and where no query has a match.
    """
    return summarise(rank_queries(chunks, with_rule(labels, same_camera)), labels, same_camera=same_camera)


def with_rule(labels: Labels, same_camera: str) -> Labels:
    """Return the labels by which to rank: where entries of the query's camera are kept, its camera might as well be unknown."""
    if same_camera not in SAME_CAMERA:
        raise InputError(f"unknown rule '{same_camera}' for the query's own camera; use {' or '.join(SAME_CAMERA)}")
    if same_camera == "drop":
        return labels
    return replace(labels, query_cameras=np.full_like(labels.query_cameras, UNKNOWN))


def summarise(ranked: Sequence[RankedQuery], labels: Labels, *, same_camera: str) -> dict[str, Any]:
    """Average over the queries that have a match; InputError where none has."""
    valid = [one.ranks for one in ranked if len(one.ranks)]
    if not valid:
        raise InputError(why_no_match(labels, "same_camera='keep'"))
    first = np.array([row[0] for row in valid])
    inverse_penalty = np.array([len(row) / row[-1] for row in valid])
    result: dict[str, Any] = {
        "mAP": percent(np.array([rectangle(row) for row in valid])),
        "mAP_trapezoid": percent(np.array([trapezoid(row) for row in valid])),
        **{f"rank{k}": percent(first <= k) for k in CMC_RANKS},
        "mINP": percent(inverse_penalty),
    }
    result["protocol"] = {
        "queries": len(labels.query_people),
        "valid_queries": len(valid),
        "queries_without_match": len(labels.query_people) - len(valid),
        "gallery_entries": len(labels.gallery_people),
        "denominator": "valid queries, for every number",
        "average_precision": {"mAP": "rectangle", "mAP_trapezoid": "trapezoid"},
        "same_person_same_camera": camera_rule(labels, same_camera),
        "ties": "stable: lower gallery index first",
        "max_rank": "whole gallery",
    }
    return result


def camera_rule(labels: Labels, same_camera: str) -> str:
    """Say in the protocol what happened to gallery entries of the query's person and camera."""
    if same_camera == "keep":
        return "kept"
    are_known = [cameras != UNKNOWN for cameras in (labels.query_cameras, labels.gallery_cameras)]
    if all(known.all() for known in are_known):
        return "left out per query"
    partly = all(known.any() for known in are_known)
    return "left out per query where both cameras are known" if partly else "kept, since no cameras are known"


def rectangle(ranks: IntArray) -> float:
    """Average precision as the mean precision at the hits."""
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def trapezoid(ranks: IntArray) -> float:
    """Average precision as the area under the precision-recall line, by trapezoids."""
    hits = np.arange(1, len(ranks) + 1)
    before = np.where(ranks == 1, 1.0, (hits - 1) / np.maximum(ranks - 1, 1))
    return float(((hits / ranks + before) / 2).mean())


def percent(values: NDArray[Any]) -> float:
    """Return the mean in percent."""
    return 100.0 * float(values.mean())


def has_match(labels: Labels, same_camera: str) -> bool:
    """Whether any query has a match that counts; nothing is ranked."""
    if not len(labels.gallery_people):
        return False
    ruled, places = with_rule(labels, same_camera), places_of(labels.gallery_people)
    pairs = set(zip(ruled.query_people.tolist(), ruled.query_cameras.tolist(), strict=True))
    return any(
        camera == UNKNOWN or (labels.gallery_cameras[places[person]] != camera).any()
        for person, camera in pairs
        if person in places
    )


def why_no_match(labels: Labels, keep: str) -> str:
    """Say what leaves every query without a match; `keep`: what a user writes to count matches from the query's camera."""
    queries = len(labels.query_people)
    if not queries or not len(labels.gallery_people):
        return f"the {'gallery' if queries else 'query'} list is empty"
    if not np.isin(labels.query_people, labels.gallery_people).any():
        return f"none of the people in {queries} queries is in the gallery; check that both use the same ids"
    if len(np.union1d(labels.query_cameras, labels.gallery_cameras)) == 1:
        return (
            f"all images come from one camera, and matches of the query's own camera do not count: "
            f"none of {queries} queries can be found; label at least two cameras, or count such matches ({keep})"
        )
    return (
        f"none of {queries} queries has a match from another camera; check the camera labels, or count matches from the "
        f"query's own camera ({keep})"
    )


def remarks(
    ranked: Sequence[RankedQuery], labels: Labels, query: NDArray[np.float32], gallery: NDArray[np.float32]
) -> list[str]:
    """Say, in sentences for the protocol and the console, what makes the numbers doubtful."""
    total, found = len(ranked), list[str]()
    copies = sum(
        bool(np.abs(feature - gallery[one.nearest]).max() <= COPY * np.abs(feature).max())
        for one, feature in zip(ranked, query, strict=True)
        if len(one.ranks)
    )
    if copies:
        found.append(
            f"{copies} of {total} queries have the same features as their nearest true match: "
            "one picture stands in both lists, or the encoder does not tell pictures apart"
        )
    keys = [hash(feature.tobytes()) for feature in query]
    repeated = total - len(set(zip(keys, labels.query_people.tolist(), labels.query_cameras.tolist(), strict=True)))
    if repeated:
        found.append(
            f"{repeated} of {total} queries repeat another query (features, person and camera), and count again"
        )
    tied = sum(one.is_tied for one in ranked)
    if tied:
        found.append(
            f"for {tied} of {total} queries somebody else is exactly as far away as the nearest true match: "
            "the order of the gallery decides"
        )
    _, sizes = np.unique([hash(feature.tobytes()) for feature in gallery], return_counts=True)
    if sizes.max() > 1:
        found.append(
            f"{sizes[sizes > 1].sum()} of {len(gallery)} gallery entries share their features with another one, "
            f"up to {sizes.max()} with each other: pictures are listed twice, or the encoder does not tell them apart"
        )
    return found
