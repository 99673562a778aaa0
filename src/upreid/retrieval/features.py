"""From labelled images to features: batches are encoded, and the ranks of a group share them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from upreid.data.benchmarks.benchmark import Benchmark
from upreid.data.benchmarks.market1501 import read_multi_query
from upreid.data.dataset import LabelledImages
from upreid.data.loading import make_loader
from upreid.data.records import Record, cameras
from upreid.retrieval.settings import Ranking
from upreid.runtime.compute import Compute
from upreid.runtime.console import progress
from upreid.runtime.distributed import ALONE, World, gather_rows
from upreid.types import Preprocess

Encode = Callable[[Tensor, Tensor], Tensor]
"""From images [batch, 3, height, width] and the camera of each [batch] to features [batch, dim]."""


@torch.inference_mode()
def encode_batches(
    encode: Encode,
    batches: Iterable[Tensor],
    cameras: Int64[Tensor, " images"],
    *,
    device: torch.device,
    flip: bool = False,
    quiet: bool = False,
) -> Float[Tensor, "images dim"]:
    """Encode every batch of images [batch, 3, height, width]; `cameras` are those of all images, in the same order.

    Features come back in single precision on the CPU, not scaled to unit length; without batches there is no dim.

    `flip` averages the features of an image and of its mirror image.
    """
    features: list[Tensor] = []
    with progress("features", len(cameras), "images", quiet=quiet or not len(cameras)) as meter:
        for batch in batches:
            images, seen = batch.to(device, non_blocking=True), cameras[meter.done : meter.done + len(batch)]
            encoded = encode(images, seen)
            if flip:
                encoded = (encoded + encode(images.flip(3), seen)) / 2
            features.append(encoded.float().cpu())
            meter.advance(len(images))
    return torch.cat(features) if features else torch.zeros(0, 0)


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
    """Return features of labelled images, in the order of `records`, on every rank.

    The ranks share whole batches, so each image is encoded among the same others as in one process, in the uneven last
    batch too, and its feature has the same bits. All ranks must call it.
    """
    own = records[own_part(len(records), batch, world)]
    batches = make_loader(
        LabelledImages(own, preprocess), batch_size=batch, workers=compute.workers, flag=compute.workers_flag
    )
    seen = torch.tensor(cameras(own), dtype=torch.long)
    hushed = quiet or not world.is_lead
    return gather_rows(encode_batches(encode, batches, seen, device=compute.device, flip=flip, quiet=hushed), world)


def own_part(count: int, batch: int, world: World) -> slice:
    """Return this rank's part of `count` images: whole batches, so that each image is encoded among the same others."""
    num_batches = -(-count // batch)
    first, last = (num_batches * rank // world.size * batch for rank in (world.rank, world.rank + 1))
    return slice(first, last)


@dataclass(frozen=True, kw_only=True)
class EncodedBenchmark:
    """Features of a benchmark's queries and gallery, and how they were made."""

    query: Float[Tensor, "queries dim"]
    gallery: Float[Tensor, "gallery dim"]
    labelled: Benchmark
    preprocess: Preprocess
    ranking: Ranking
    multi_query: dict[str, Any] | None = None
    """How queries were averaged over images, for the protocol."""


def encode_benchmark(
    encode: Encode,
    labelled: Benchmark,
    preprocess: Preprocess,
    compute: Compute,
    ranking: Ranking | None = None,
    world: World = ALONE,
    *,
    batch: int = 128,
    quiet: bool = False,
) -> EncodedBenchmark:
    """Encode queries and gallery, all ranks together."""
    ranking = ranking or Ranking()

    def encoded(records: Sequence[Record]) -> Float[Tensor, "images dim"]:
        return features(encode, records, preprocess, compute, world, batch=batch, flip=ranking.flip, quiet=quiet)

    query, gallery, facts = encoded(labelled.query), encoded(labelled.gallery), None
    if ranking.multi_query:
        more = read_multi_query(labelled)
        query, num_alone = average_queries(query, labelled.query, encoded(more), more, metric=ranking.metric)
        facts = {"images": len(more), "pooling": "mean", "queries_of_one_image": num_alone}
    how = {"labelled": labelled, "preprocess": preprocess, "ranking": ranking}
    return EncodedBenchmark(query=query, gallery=gallery, multi_query=facts, **how)


def average_queries(
    query: Float[Tensor, "queries dim"],
    queries: Sequence[Record],
    others: Float[Tensor, "others other_dim"],
    records: Sequence[Record],
    *,
    metric: str,
) -> tuple[Float[Tensor, "queries dim"], int]:
    """Replace each query's feature by the mean over the other images of its person and camera.

    This is the multi-query setting of Market-1501 (Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015).
    For cosine distances, features are scaled to unit length before. A query without such images stays as it is; the number of
    these is returned with the features.
    """
    if metric == "cosine":
        query, others = F.normalize(query), F.normalize(others)
    places: dict[tuple[int | None, int | None], list[int]] = {}
    for place, record in enumerate(records):
        places.setdefault((record.person, record.camera), []).append(place)
    found = [places.get((record.person, record.camera)) for record in queries]
    rows = [others[own].mean(dim=0) if own else alone for own, alone in zip(found, query, strict=True)]
    return torch.stack(rows), found.count(None)
