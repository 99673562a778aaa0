"""From a labelled set and an encoder to retrieval results."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from upreid.config.downstream import LabelledSet
from upreid.data.benchmarks import BENCHMARKS, Benchmark
from upreid.data.dataset import LabelledImages
from upreid.errors import InputError, nearest
from upreid.retrieval.features import extract
from upreid.retrieval.metrics import evaluate_features
from upreid.runtime.compute import Compute
from upreid.types import Preprocess, Record


def benchmark(data: LabelledSet) -> Benchmark:
    """Read a labelled set by its layout's name."""
    if data.name not in BENCHMARKS:
        raise InputError(f"unknown labelled set '{data.name}'{nearest(data.name, list(BENCHMARKS))}")
    return BENCHMARKS[data.name](data.root)


def features(
    encode: Callable[[Tensor], Tensor],
    records: Sequence[Record],
    preprocess: Preprocess,
    compute: Compute,
    *,
    batch: int = 128,
    flip: bool = False,
    quiet: bool = False,
) -> Float[Tensor, "images dim"]:
    """Features of labelled images, in the order of `records`."""
    images = LabelledImages(records, preprocess)
    batches = DataLoader(images, batch_size=batch, num_workers=compute.workers)
    return extract(encode, batches, total=len(records), device=compute.device, flip=flip, quiet=quiet)


def retrieve(
    encode: Callable[[Tensor], Tensor],
    labelled: Benchmark,
    preprocess: Preprocess,
    compute: Compute,
    *,
    metric: str = "cosine",
    batch: int = 128,
    flip: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Rank the gallery for every query: metrics in percent, and the protocol they were made with."""
    settings: dict[str, Any] = {"batch": batch, "flip": flip, "quiet": quiet}
    query, gallery = (
        features(encode, records, preprocess, compute, **settings) for records in (labelled.query, labelled.gallery)
    )
    result = evaluate_features(
        query,
        gallery,
        *(people(records) for records in (labelled.query, labelled.gallery)),
        *(cameras(records) for records in (labelled.query, labelled.gallery)),
        metric=metric,
    )
    how = {"dataset": labelled.name, **labelled.facts, "input": [preprocess.height, preprocess.width]}
    normalisation = {"mean": list(preprocess.mean), "std": list(preprocess.std)}
    result["protocol"] = {**how, **normalisation, "flip": flip, "rerank": None, **result["protocol"]}
    return result


def people(records: Sequence[Record]) -> list[int]:
    """Person of each record."""
    return [record.person for record in records if record.person is not None]


def cameras(records: Sequence[Record]) -> list[int]:
    """Camera of each record."""
    return [record.camera for record in records if record.camera is not None]


def result_line(result: dict[str, Any]) -> str:
    """The numbers in one line."""
    names = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "mINP": "mINP"}
    return ", ".join(f"{label} {result[key]:.2f}" for key, label in names.items())
