"""UP-ReID: unsupervised pre-training for person re-identification."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upreid.data.benchmarks import read_benchmark
    from upreid.inference import ImageEncoder, ImageFeatures, extract, load_encoder
    from upreid.methods.method import Method
    from upreid.retrieval.jaccard import jaccard_distances
    from upreid.retrieval.metrics import evaluate_features
    from upreid.retrieval.rerank import rerank
    from upreid.training.launch import fit

__version__ = "0.1.0"
__all__ = [
    "ImageEncoder",
    "ImageFeatures",
    "Method",
    "__version__",
    "evaluate_features",
    "extract",
    "fit",
    "jaccard_distances",
    "load_encoder",
    "read_benchmark",
    "rerank",
]

HOMES = {
    "ImageEncoder": "upreid.inference",
    "ImageFeatures": "upreid.inference",
    "Method": "upreid.methods.method",
    "evaluate_features": "upreid.retrieval.metrics",
    "extract": "upreid.inference",
    "fit": "upreid.training.launch",
    "jaccard_distances": "upreid.retrieval.jaccard",
    "load_encoder": "upreid.inference",
    "read_benchmark": "upreid.data.benchmarks",
    "rerank": "upreid.retrieval.rerank",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'upreid' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Show the public names, also those that are imported when they are asked for."""
    return sorted(__all__)
