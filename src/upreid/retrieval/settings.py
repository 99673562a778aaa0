"""How features are made and compared: torch-free, so that the command line is built from it."""

from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints

from upreid.errors import InputError
from upreid.ranges import Count, NotNegative, ShareOrZero

METRIC_LABELS = {
    "mAP": "mAP",
    "mAP_trapezoid": "mAP (trapezoid)",
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "mINP": "mINP",
}
"""What a reader calls the metrics of a result."""


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Features and distances of the retrieval, and who counts as found."""

    flip: bool = False
    """Features as the mean over an image and its mirror image."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Distance between features: cosine or Euclidean."""
    same_camera: Literal["drop", "keep"] = "drop"
    """Gallery entries of the query's person and camera: left out of the ranking, or kept as right answers."""
    multi_query: bool = False
    """Queries as means over all images of their person and camera in Market-1501's folder gt_bbox."""
    rerank: bool = False
    """Re-ranking of the gallery with k-reciprocal neighbours."""
    k1: Count = 20
    """Re-ranking: number of neighbours that must be mutual."""
    k2: Count = 6
    """Re-ranking: number of neighbours over which an encoding is averaged."""
    lambda_value: ShareOrZero = 0.3
    """Re-ranking: weight of the original distance."""
    rerank_variant: Literal["classic", "fast-reid", "luperson"] = "classic"
    """Re-ranking: the published algorithm (classic), or what today's fast-reid or LUPerson computes instead, to compare with."""


@dataclass(frozen=True, kw_only=True)
class Ranking(Retrieval):
    """Features and distances of the retrieval, and who counts as found."""

    neck: Literal["after", "before"] = "after"
    """Side of the BNNeck from which features are taken, where the encoder has one."""


@dataclass(frozen=True, kw_only=True)
class EncoderRanking(Retrieval):
    """Features and distances of the retrieval with an encoder whose header records a side of the BNNeck."""

    neck: Literal["after", "before"] | None = None
    """Side of the BNNeck from which features are taken, where the encoder has one; by default the side that its recipe tests."""

    def of(self, recorded: Literal["after", "before"]) -> Ranking:
        """Return the ranking with the side given, else with the one that the header has `recorded`."""
        shared = {field.name: getattr(self, field.name) for field in fields(Retrieval)}
        return Ranking(**shared, neck=self.neck or recorded)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Clustering of features by DBSCAN on their Jaccard distances."""

    eps: NotNegative = 0.6
    """Jaccard distance, below 1, up to which two images are neighbours."""
    min_samples: Count = 4
    """Number of images, itself included, within eps of an image that makes it the core of a cluster."""
    k1: Count = 30
    """Number of nearest images, itself included, that must be mutual."""
    k2: Count = 6
    """Number of nearest images, itself included, over which an encoding is averaged."""


def check_reranking(
    k1: int, k2: int, lambda_value: float, variant: str = "classic", *, metric: str = "cosine", prefix: str = ""
) -> None:
    """Refuse settings of re-ranking that mean nothing; `prefix`: what stands before their names where a user writes them."""
    check_neighbours(k1, k2, prefix=prefix)
    name = f"{prefix}rerank-variant" if prefix else "variant"
    if variant not in get_args(get_type_hints(Retrieval)["rerank_variant"]):
        raise InputError(f"{name} '{variant}': expected classic, fast-reid or luperson")
    if variant == "luperson" and metric == "euclidean":
        raise InputError(
            f"{name} luperson: it squares cosine distances once more, and with Euclidean distances it is the classic; "
            "leave it out"
        )
    if not 0 <= lambda_value <= 1:
        name = f"{prefix}lambda-value" if prefix else "lambda_value"
        raise InputError(f"{name} {lambda_value}: expected 0 (Jaccard distance alone) to 1 (original distance alone)")


def check_neighbours(k1: int, k2: int, *, prefix: str = "", example: str = "20 and 6") -> None:
    """Refuse sizes of neighbourhoods that mean nothing; `prefix`: what stands before their names where a user writes them."""
    for name, k in {"k1": k1, "k2": k2}.items():
        if k < 1:
            raise InputError(f"{prefix}{name} {k}: expected a number of neighbours, at least 1")
    if k2 > k1:
        raise InputError(
            f"{prefix}k2 {k2} exceeds {prefix}k1 {k1}; average over fewer neighbours than are encoded, such as {example}"
        )


def check_clustering(eps: float, min_samples: int, k1: int, k2: int, *, prefix: str = "") -> None:
    """Refuse settings of clustering that mean nothing; `prefix`: what stands before their names where a user writes them."""
    if not 0 < eps < 1:
        raise InputError(f"{prefix}eps {eps:g}: expected a Jaccard distance between 0 and 1, such as 0.6")
    if min_samples < 1:
        raise InputError(f"{prefix}min_samples {min_samples}: expected a number of images, at least 1")
    check_neighbours(k1, k2, prefix=prefix, example="30 and 6")
