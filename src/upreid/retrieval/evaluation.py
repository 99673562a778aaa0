"""Evaluation of a benchmark: from features of queries and gallery to retrieval metrics, with the protocol they were made with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from upreid.data.benchmarks.benchmark import Benchmark
from upreid.data.benchmarks.market1501 import read_multi_query
from upreid.data.records import Record
from upreid.errors import InputError
from upreid.models.encoder import Encoder, encoder_sha256
from upreid.retrieval.features import EncodedBenchmark
from upreid.retrieval.inputs import as_feature_pair, as_labels
from upreid.retrieval.metrics import evaluate_chunks, has_match, why_no_match
from upreid.retrieval.ranking import Labels, RankedQuery, distance_chunks
from upreid.retrieval.settings import METRIC_LABELS, Ranking, Retrieval, check_reranking
from upreid.runtime.console import say

SAID = ("mAP", "rank1", "rank5", "rank10", "mINP")
"""Metrics that are said on the console."""


def evaluate_benchmark(encoded: EncodedBenchmark) -> dict[str, Any]:
    """Rank the gallery for every query: metrics in percent, and the protocol they were made with. One rank is enough."""
    return rank_benchmark(encoded, first=0)[0]


def rank_benchmark(encoded: EncodedBenchmark, *, first: int) -> tuple[dict[str, Any], list[RankedQuery]]:
    """Evaluate like `evaluate_benchmark`, and return the ranking of each query with its `first` entries as well."""
    labelled, preprocess, ranking = encoded.labelled, encoded.preprocess, encoded.ranking
    query, gallery = as_feature_pair(encoded.query, encoded.gallery, ranking.metric)
    if ranking.rerank:
        from upreid.retrieval.rerank import reranked_chunks  # and scipy with it

        settings = {name: getattr(ranking, name) for name in ("k1", "k2", "lambda_value", "metric")}
        chunks = reranked_chunks(query, gallery, **settings, variant=ranking.rerank_variant)
    else:
        chunks = distance_chunks(query, gallery, metric=ranking.metric)
    rule = {"metric": ranking.metric, "same_camera": ranking.same_camera}
    result, ranked = evaluate_chunks(
        chunks, labels_of(labelled.query, labelled.gallery), query, gallery, **rule, first=first
    )
    result["protocol"] = {
        "dataset": labelled.name,
        **labelled.facts,
        "input": [preprocess.height, preprocess.width],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "flip": ranking.flip,
        "normalised_features": ranking.metric == "cosine",
        "rerank": reranking(ranking),
        "multi_query": encoded.multi_query,
        **result["protocol"],
    }
    return result, ranked


def labels_of(queries: Sequence[Record], gallery: Sequence[Record]) -> Labels:
    """Return the people and cameras of queries and gallery."""
    people, cameras = (
        ([getattr(one, name) for one in queries], [getattr(one, name) for one in gallery])
        for name in ("person", "camera")
    )
    return as_labels(people, cameras, (len(queries), len(gallery)))


def check_ranking(ranking: Retrieval, labelled: Benchmark, *, prefix: str = "--") -> None:
    """Refuse what cannot be ranked before time is spent on features; `prefix`: what stands before the names of the flags.

    Raises InputError for settings of re-ranking that mean nothing or exceed the benchmark, for multi-query without the images
    that it needs, and for a benchmark in which no query has a match that counts.
    """
    if ranking.rerank:
        sizes = ranking.k1, ranking.k2, ranking.lambda_value
        check_reranking(*sizes, ranking.rerank_variant, metric=ranking.metric, prefix=prefix)
        images = len(labelled.query) + len(labelled.gallery)
        if ranking.k1 >= images:
            raise InputError(
                f"{prefix}k1 {ranking.k1}: {labelled.name} has {images} images to rank, and fewer neighbours; "
                f"give a number well below, or leave {prefix}rerank out"
            )
    if ranking.multi_query:
        read_multi_query(labelled)
    labels, keep = labels_of(labelled.query, labelled.gallery), f"{prefix}same-camera keep"
    if not has_match(labels, ranking.same_camera):
        raise InputError(f"{labelled.name} at {labelled.root}: {why_no_match(labels, keep)}")


def reranking(ranking: Retrieval) -> dict[str, Any] | None:
    """Describe the re-ranking for the protocol."""
    if not ranking.rerank:
        return None
    numbers = {"k1": ranking.k1, "k2": ranking.k2, "lambda": ranking.lambda_value}
    return {"method": "k-reciprocal", "variant": ranking.rerank_variant, **numbers}


def identity_of(path: Path, encoder: Encoder, ranking: Ranking) -> dict[str, Any]:
    """Describe the encoder file of a result for its protocol."""
    header = encoder.header
    origin = {name: getattr(header, name) for name in ("recipe", "recipe_hash", "step", "init", "seed")}
    head = {"head": header.head.name if header.head else "none", "neck": ranking.neck if header.head else "none"}
    return {
        "encoder": path.name,
        "encoder_sha256": encoder_sha256(path),
        "backbone": header.backbone,
        **head,
        **origin,
        "trained_on": header.trained_on or "no labels",
    }


def say_result(result: dict[str, Any]) -> None:
    """Say the numbers, and what makes them doubtful."""
    for sentence in (result_line(result), *result["protocol"]["remarks"]):
        say(f"{result['protocol']['dataset']}: {sentence}")


def result_line(result: dict[str, Any]) -> str:
    """Write the numbers in one line."""
    return ", ".join(f"{METRIC_LABELS[name]} {result[name]:.2f}" for name in SAID)
