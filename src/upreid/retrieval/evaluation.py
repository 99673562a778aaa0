"""Evaluation of a benchmark: from an encoder and a labelled set to retrieval metrics, with the protocol they were made with."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from upreid.data.benchmarks.benchmark import Benchmark
from upreid.data.dataset import LabelledImages
from upreid.data.loading import make_loader
from upreid.data.records import Record, cameras, people
from upreid.models.encoder import Encoder
from upreid.retrieval.features import Encode, extract
from upreid.retrieval.metrics import evaluate_distances, evaluate_features
from upreid.retrieval.ranking import Labelled
from upreid.retrieval.rerank import reranked_chunks
from upreid.retrieval.settings import Ranking
from upreid.runtime.compute import Compute
from upreid.runtime.distributed import ALONE, World, gather_rows
from upreid.types import Preprocess


def features(
    encode: Encode,
    records: Sequence[Record],
    preprocess: Preprocess,
    compute: Compute,
    world: World = ALONE,
    *,
    batch: int = 128,
    flip: bool = False,
    quiet: bool = False,
) -> Float[Tensor, "images dim"]:
    """Features of labelled images, in the order of `records`, on every rank.

    The ranks share whole batches, so each image is encoded among the same others as in one process, in the uneven last
    batch too, and its feature has the same bits. All ranks must call it.
    """
    num_batches = -(-len(records) // batch)
    first, last = (num_batches * rank // world.size * batch for rank in (world.rank, world.rank + 1))
    own = records[first:last]
    batches = make_loader(LabelledImages(own, preprocess), batch_size=batch, workers=compute.workers)
    seen = torch.tensor(cameras(own), dtype=torch.long)
    hushed = quiet or not world.is_lead
    return gather_rows(extract(encode, batches, seen, device=compute.device, flip=flip, quiet=hushed), world)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Features of a benchmark's two lists, and how they were made."""

    query: Float[Tensor, "queries dim"]
    gallery: Float[Tensor, "gallery dim"]
    labelled: Benchmark
    preprocess: Preprocess
    ranking: Ranking


def encode_sides(
    encode: Encode,
    labelled: Benchmark,
    preprocess: Preprocess,
    compute: Compute,
    ranking: Ranking | None = None,
    world: World = ALONE,
    *,
    batch: int = 128,
    quiet: bool = False,
) -> Sides:
    """Features of queries and gallery, made by all ranks together."""
    ranking = ranking or Ranking()
    query, gallery = (
        features(encode, records, preprocess, compute, world, batch=batch, flip=ranking.flip, quiet=quiet)
        for records in (labelled.query, labelled.gallery)
    )
    return Sides(query=query, gallery=gallery, labelled=labelled, preprocess=preprocess, ranking=ranking)


def rank_sides(sides: Sides) -> dict[str, Any]:
    """Rank the gallery for every query: metrics in percent, and the protocol they were made with. One rank is enough."""
    labelled, preprocess, ranking = sides.labelled, sides.preprocess, sides.ranking
    result = evaluate(sides.query, sides.gallery, labelled, ranking)
    how = {"dataset": labelled.name, **labelled.facts, "input": [preprocess.height, preprocess.width]}
    pixels = {
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "flip": ranking.flip,
        "normalised_features": ranking.metric == "cosine",
    }
    result["protocol"] = {**how, **pixels, "rerank": reranking(ranking), **result["protocol"]}
    return result


def evaluate(
    query: Float[Tensor, "queries dim"], gallery: Float[Tensor, "gallery dim"], labelled: Benchmark, ranking: Ranking
) -> dict[str, Any]:
    """Metrics from features, re-ranked where asked for."""
    sides = labelled.query, labelled.gallery
    ids, views = [people(records) for records in sides], [cameras(records) for records in sides]
    if not ranking.rerank:
        return evaluate_features(query, gallery, *ids, *views, metric=ranking.metric)
    labels = Labelled(
        query_people=np.array(ids[0]),
        gallery_people=np.array(ids[1]),
        query_cameras=np.array(views[0]),
        gallery_cameras=np.array(views[1]),
    )
    settings = {name: getattr(ranking, name) for name in ("k1", "k2", "lambda_value", "metric")}
    result = evaluate_distances(reranked_chunks(query, gallery, **settings), labels)
    result["protocol"] |= {"metric": ranking.metric, "dimensions": query.shape[1]}
    return result


def reranking(ranking: Ranking) -> dict[str, Any] | None:
    """How it was re-ranked, for the protocol."""
    if not ranking.rerank:
        return None
    numbers = {"k1": ranking.k1, "k2": ranking.k2, "lambda": ranking.lambda_value}
    return {"method": "k-reciprocal", **numbers}


def encoding(encoder: Encoder, ranking: Ranking) -> Encode:
    """Features after or before the neck."""
    return encoder.before_neck if ranking.neck == "before" else encoder


def identity_of(path: Path, encoder: Encoder, ranking: Ranking) -> dict[str, Any]:
    """What a result says about the encoder file it was made with."""
    header = encoder.header
    origin = {name: getattr(header, name) for name in ("recipe", "recipe_hash", "step", "init", "seed")}
    head = {"head": header.head.name if header.head else "none", "neck": ranking.neck if header.head else "none"}
    return {
        "encoder": path.name,
        "encoder_sha256": sha256(path),
        "backbone": header.backbone,
        **head,
        **origin,
        "trained_on": header.trained_on or "no labels",
    }


def sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_line(result: dict[str, Any]) -> str:
    """The numbers in one line."""
    names = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mINP": "mINP"}
    return ", ".join(f"{label} {result[key]:.2f}" for key, label in names.items())
