"""Retrieval metrics for re-identification, and the protocol they stand for.

Two conventions of average precision are in use; both are given. *Rectangle*: mean over hits of k / rank_k (fast-reid,
torchreid, BoT, TransReID). *Trapezoid*: mean over hits of (k / rank_k + (k - 1) / (rank_k - 1)) / 2, the second term 1 where
the first hit has rank 1 (the original Market-1501 code, LUPerson's pre-training).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from upreid.errors import InputError
from upreid.retrieval.inputs import as_feature_pair, as_labels
from upreid.retrieval.ranking import Distances, Labelled, Labels, distance_chunks, match_ranks, places_of

CMC_RANKS = (1, 5, 10)


def evaluate_features(
    query_features: ArrayLike | Tensor,
    gallery_features: ArrayLike | Tensor,
    query_ids: ArrayLike | Tensor,
    gallery_ids: ArrayLike | Tensor,
    query_cameras: ArrayLike | Tensor,
    gallery_cameras: ArrayLike | Tensor,
    *,
    metric: str = "cosine",
) -> dict[str, Any]:
    """Rank a gallery [gallery, dim] for each query [queries, dim]; arrays, lists or tensors.

    Returns percentages `mAP` (rectangle), `mAP_trapezoid`, `rank1`, `rank5`, `rank10`, `mINP`, all means over the queries
    that have a true match left, and `protocol`. Gallery entries of the query's person and camera do not count. Distances
    are computed in single precision, some queries at a time; last bits may depend on the machine's matrix product.

    Raises InputError for shapes that do not fit, features that are not finite, an unknown metric, and sets in which no
    query has a match.
    """
    query, gallery = as_feature_pair(query_features, gallery_features, metric)
    labels = Labelled(
        query_people=as_labels(query_ids, len(query), "query ids"),
        gallery_people=as_labels(gallery_ids, len(gallery), "gallery ids"),
        query_cameras=as_labels(query_cameras, len(query), "query cameras"),
        gallery_cameras=as_labels(gallery_cameras, len(gallery), "gallery cameras"),
    )
    result = evaluate_distances(distance_chunks(query, gallery, metric=metric), labels)
    result["protocol"] |= {"metric": metric, "dimensions": query.shape[1]}
    return result


def evaluate_distances(chunks: Iterable[Distances], labels: Labelled) -> dict[str, Any]:
    """Evaluate distances that come some rows at a time, in the order of the queries; smaller is nearer.

    Raises InputError for distances that are not numbers or do not fit the labels, and where no query has a match.
    """
    places = places_of(labels.gallery_people)
    ranks: list[Labels] = []
    for chunk in chunks:
        if np.isnan(chunk.min()):
            raise InputError(f"distances of query {len(ranks)} or shortly after are NaN; look for NaN in the features")
        ranks += match_ranks(chunk, len(ranks), labels, places)
    if len(ranks) != len(labels.query_people):
        raise InputError(f"distances for {len(ranks)} queries came, labels for {len(labels.query_people)}")
    valid = [row for row in ranks if len(row)]
    if not valid:
        raise InputError(why_no_match(labels))
    return summarise(valid, labels)


def summarise(valid: list[Labels], labels: Labelled) -> dict[str, Any]:
    """Average over the queries that have a match."""
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
        "same_person_same_camera": "left out per query",
        "ties": "stable: lower gallery index first",
        "max_rank": "whole gallery",
    }
    return result


def rectangle(ranks: Labels) -> float:
    """Average precision as the mean precision at the hits."""
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def trapezoid(ranks: Labels) -> float:
    """Average precision as the area under the precision-recall line, by trapezoids."""
    hits = np.arange(1, len(ranks) + 1)
    before = np.where(ranks == 1, 1.0, (hits - 1) / np.maximum(ranks - 1, 1))
    return float(((hits / ranks + before) / 2).mean())


def percent(values: NDArray[Any]) -> float:
    """Mean in percent."""
    return 100.0 * float(values.mean())


def why_no_match(labels: Labelled) -> str:
    """Say what keeps every query from having a match."""
    queries = len(labels.query_people)
    cameras = np.union1d(labels.query_cameras, labels.gallery_cameras)
    if len(cameras) == 1:
        return (
            f"all images come from one camera ({cameras[0]}), and matches of the query's own camera do not count: "
            f"none of {queries} queries can be found; label at least two cameras"
        )
    if not np.isin(labels.query_people, labels.gallery_people).any():
        return f"none of the people in {queries} queries is in the gallery; check that both use the same ids"
    return f"none of {queries} queries has a match from another camera; check the camera labels"
