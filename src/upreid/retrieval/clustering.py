"""Clusters of unlabelled images, with a report that tells whether they can be trusted.

DBSCAN (Ester et al., KDD 1996) on the sparse graph of Jaccard distances is exact: pairs that the graph lacks are farther apart
than any eps. A cluster grows from its core images, those with `min_samples` images within eps; images within eps of a core image
belong to the cluster that reaches them first in the order of the images, and all others are outliers. So the same images in the
same order have the same clusters.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from torch import Tensor

from upreid.errors import InputError
from upreid.retrieval.cluster_report import agreement, report_of
from upreid.retrieval.jaccard import clustering_encodings, directions_of, graph_within
from upreid.retrieval.neighbours import neighbours
from upreid.retrieval.ranking import IntArray
from upreid.retrieval.settings import check_clustering
from upreid.runtime.console import Watch

GIBIBYTE = 2**30


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """What a clustering found."""

    labels: IntArray
    """Cluster of each image, from 0 in the order of the images; -1 for outliers."""
    others: tuple[IntArray, ...]
    """Labels at the other distances that were asked for."""
    report: dict[str, Any]
    """Numbers for a journal: `report_of`, the agreement with known people, and seconds and memory of each phase."""


def cluster(
    features: ArrayLike | Tensor,
    *,
    eps: float = 0.6,
    min_samples: int = 4,
    k1: int = 30,
    k2: int = 6,
    others: Sequence[float] = (),
    people: Sequence[int | None] | None = None,
    quiet: bool = False,
    watch: Watch | None = None,
) -> Clusters:
    """Cluster features [images, dim] by DBSCAN on their Jaccard distances, and report what came of it.

    `others`: further values of eps at which the same graph is clustered. `people`: who is on each image, for the report only.
    `watch` is called with the phase, the images done and their number, beside progress on the console, which `quiet` leaves out;
    what it raises ends the work.

    Raises InputError for settings out of range, features that mean nothing, and where scikit-learn is not installed; RunError
    where the images are so alike that the graph would not be sparse. `check_clusters` judges the result.
    """
    for distance in (eps, *others):
        check_clustering(distance, min_samples, k1, k2)
    require_scikit_learn()
    phases = dict[str, dict[str, float]]()
    images = directions_of(features)
    count = images.count

    def phase(name: str) -> AbstractContextManager[None]:
        if watch is not None:
            watch(name, 0, count)
        return measured(phases, name)

    with phase("neighbours"):
        ranked, _ = neighbours(images, k1, quiet=quiet, watch=watch)
    with phase("encodings"):
        encodings = clustering_encodings(images, ranked, k1, k2)
        del images, ranked
    with phase("distances"):
        graph = graph_within(encodings, max(eps, *others, 0), quiet=quiet, watch=watch)
    with phase("clusters"):
        labels, *rest = (dbscan(graph, distance, min_samples) for distance in (eps, *others))
        del graph
    with phase("report"):
        report = {"eps": eps, "min_samples": min_samples, **report_of(encodings, labels, min_samples)}
        report["agreement"] = None if people is None else agreement(labels, people)
    return Clusters(labels=labels, others=tuple(rest), report=report | {"phases": phases})


def dbscan(graph: csr_array, eps: float, min_samples: int) -> IntArray:
    """Return the cluster of each image, -1 for outliers, from a graph of the distances up to `eps` or farther.

    Stored zeros are neighbours, and missing pairs are not.
    """
    require_scikit_learn()
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import sort_graph_by_row_values

    is_near = graph.data <= np.float32(eps)
    starts = np.concatenate([[0], np.cumsum(is_near)])[graph.indptr]
    near = csr_array((graph.data[is_near], graph.indices[is_near], starts), shape=graph.shape)
    near = sort_graph_by_row_values(near, copy=False, warn_when_not_sorted=False)
    found = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(near)
    return found.labels_.astype(np.int64)


def require_scikit_learn() -> None:
    """Raise InputError where scikit-learn is not installed."""
    if find_spec("sklearn") is None:
        raise InputError("clustering needs scikit-learn: pip install 'upreid[adapt]'")


@contextmanager
def measured(phases: dict[str, dict[str, float]], name: str) -> Iterator[None]:
    """Add the seconds of a phase, and the most memory that the process has held up to its end, in GiB."""
    started = time.perf_counter()
    yield
    phases[name] = {"seconds": round(time.perf_counter() - started, 3), "peak_gib": round(peak_memory() / GIBIBYTE, 3)}


def peak_memory() -> int:
    """Return the most bytes that this process has held; 0 where the system does not say."""
    if find_spec("resource") is None:
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
