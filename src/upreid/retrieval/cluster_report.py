"""What a clustering is worth without labels, and where it must not be trained on.

Distances beyond the radius of the graph count here too, so they are computed anew, for at most `SAMPLE` images that are evenly
spread over the set; numbers over images are means and quantiles over these.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from upreid.errors import InputError
from upreid.retrieval.jaccard import sharing_pairs
from upreid.retrieval.ranking import IntArray

SAMPLE = 4_096
"""Number of images whose distances are looked at."""
QUANTILES = (10, 25, 50, 75, 90)
LARGEST_SHARE = 0.5
"""Share of all images in one cluster from which it is refused."""
MOST_OUTLIERS = 0.98
"""Share of outliers from which a clustering is refused. Trainings that end well may begin with more than nine in ten."""


class PoorClustersError(InputError):
    """Clusters that nothing can be learnt from."""


def report_of(encodings: csr_array, labels: IntArray, min_samples: int) -> dict[str, Any]:
    """Describe clusters in numbers.

    `sizes`: quantiles over clusters, in percent. `neighbour_distances`: quantiles over images of the Jaccard distance to the
    nearest image that completes `min_samples`; an image is a core image at every eps from there on. `silhouette`: see
    `silhouettes`; the mean over all images, outliers with 0, so that it does not pay to leave images out; `silhouette_clustered`
    is the mean without outliers.
    """
    sizes = np.bincount(labels[labels >= 0])
    chosen = np.unique(np.linspace(0, len(labels) - 1, min(SAMPLE, len(labels))).astype(np.int64))
    scores, neighbour_distances = silhouettes(encodings, labels, chosen, min_samples)
    is_clustered = labels[chosen] >= 0
    return {
        "images": len(labels),
        **counts_of(labels),
        "sizes": quantiles(sizes, (0, *QUANTILES, 100)) if len(sizes) else None,
        "neighbour_distances": quantiles(neighbour_distances, QUANTILES),
        "silhouette": float(scores.mean()),
        "silhouette_clustered": float(scores[is_clustered].mean()) if is_clustered.any() else 0.0,
        "images_looked_at": len(chosen),
    }


def counts_of(labels: IntArray) -> dict[str, Any]:
    """Count clusters and outliers, and give the shares of the outliers and of the largest cluster in all images."""
    sizes = np.bincount(labels[labels >= 0])
    return {
        "clusters": len(sizes),
        "outliers": int((labels < 0).sum()),
        "outlier_share": float((labels < 0).mean()),
        "largest_share": float(sizes.max() / len(labels)) if len(sizes) else 0.0,
    }


def quantiles(values: NDArray[Any], percent: Sequence[int]) -> dict[str, float]:
    """Return quantiles by their percentage."""
    found = np.percentile(values, percent)
    return {str(one): round(float(value), 6) for one, value in zip(percent, found, strict=True)}


def silhouettes(
    encodings: csr_array, labels: IntArray, chosen: IntArray, min_samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the silhouette of the images `chosen`, and their distance to the image that completes `min_samples`.

    The silhouette (Rousseeuw 1987) of an image is (b - a) / max(a, b): a is its mean distance to the other images of its
    cluster, b the least mean distance to another cluster. Jaccard distances of pairs that share no neighbour are 1. Outliers are
    clusters of one, whose silhouette is 0 by definition, but are not compared with; with fewer than two clusters all are 0.
    """
    sizes = np.bincount(labels[labels >= 0])
    scores, reach = np.zeros(len(chosen)), np.ones(len(chosen), dtype=np.float32)
    for rows, row, column, distance in sharing_pairs(encodings, chosen):
        own = labels[chosen[rows]]
        of_each = np.split(distance, np.searchsorted(row, np.arange(1, len(own))))
        reach[rows] = [
            np.partition(one, min_samples - 1)[min_samples - 1] if len(one) >= min_samples else 1 for one in of_each
        ]
        if len(sizes) < 2:
            continue
        is_counted = (labels[column] >= 0) & (column != chosen[rows][row])
        cells = row[is_counted] * len(sizes) + labels[column[is_counted]]
        nearness = np.bincount(cells, 1 - distance[is_counted], minlength=len(own) * len(sizes)).reshape(len(own), -1)
        scored = np.flatnonzero((own >= 0) & (sizes[own] > 1))
        within = 1 - nearness[scored, own[scored]] / (sizes[own[scored]] - 1)
        nearness[scored, own[scored]] = 0
        across = 1 - (nearness[scored] / sizes).max(axis=1)
        scores[rows][scored] = (across - within) / np.maximum(np.maximum(across, within), np.finfo(float).tiny)
    return scores, reach


def agreement(labels: IntArray, people: Sequence[int | None]) -> dict[str, Any]:
    """Compare clusters with the people on the images, for information only; images of unknown people are left out.

    Pairs of images: `precision` is the share of pairs in one cluster that show one person, `recall` the share of a person's
    pairs in one cluster. `adjusted_rand` is 1 for equal partitions and 0 on average for random ones (Hubert and Arabie 1985).
    `purity` is the share of clustered images that show the person seen most in their cluster. Outliers are clusters of one.
    """
    if len(people) != len(labels):
        raise InputError(f"people of {len(people)} images came for {len(labels)} features; give one for each")
    is_known = np.array([person is not None for person in people], dtype=bool)
    _, who = np.unique([person for person in people if person is not None], return_inverse=True)
    labels = labels[is_known]
    is_clustered = labels >= 0
    cells = np.stack([labels[is_clustered], who[is_clustered]])
    joint, counts = np.unique(cells, axis=1, return_counts=True)
    most = np.zeros(labels.max(initial=-1) + 1, dtype=np.int64)
    np.maximum.at(most, joint[0], counts)
    both, clustered, same = (pairs(part) for part in (counts, np.bincount(cells[0]), np.bincount(who)))
    expected = clustered * same / max(len(labels) * (len(labels) - 1) / 2, 1)
    possible = (clustered + same) / 2 - expected
    return {
        "people": int(who.max(initial=-1)) + 1,
        "precision": both / clustered if clustered else 0.0,
        "recall": both / same if same else 0.0,
        "adjusted_rand": (both - expected) / possible if possible else 1.0,
        "purity": float(most.sum() / is_clustered.sum()) if is_clustered.any() else 0.0,
    }


def pairs(counts: IntArray) -> float:
    """Count the pairs within groups of these sizes."""
    return float((counts * (counts - 1) / 2).sum())


def cluster_line(report: dict[str, Any]) -> str:
    """Write a report in one line."""
    facts = report["agreement"] if report.get("agreement") else {}
    known = f"; adjusted Rand index with the labels {facts['adjusted_rand']:.3f}" if facts else ""
    missing = f", {report['unreadable']} unreadable" if report.get("unreadable") else ""
    if kept := report.get("reliable"):
        known += f"; {kept['clusters']} of the clusters are reliable, and {kept['outlier_share']:.1%} of the images are in none"
    return (
        f"{report['clusters']} clusters of {report['images']} images{missing}, {report['outlier_share']:.1%} outliers, "
        f"{report['largest_share']:.1%} in the largest, silhouette {report['silhouette']:.3f}{known}"
    )


def check_clusters(
    report: dict[str, Any], *, people_per_batch: int = 2, prefix: str = "", singles: bool = False
) -> None:
    """Refuse clusters that nothing can be learnt from; `prefix`: what stands before the names of settings that a user writes.

    Raises PoorClustersError where there is no cluster, where one holds half of all images, where nearly everything is an outlier,
    and where there are fewer clusters than people in a batch. The line says what was found and what to try. With `singles`,
    images of no cluster are learnt from as well, and only a cluster that holds half of all images is refused.
    """
    clusters, outliers, largest = (report[name] for name in ("clusters", "outlier_share", "largest_share"))
    if largest >= LARGEST_SHARE:
        what, advice = f"one cluster holds {largest:.1%} of all images", lowered(report, prefix)
    elif singles:
        return
    elif not clusters:
        what, advice = "there is no cluster", raised(report, prefix)
    elif outliers >= MOST_OUTLIERS:
        what, advice = "nearly all images are outliers", raised(report, prefix)
    elif clusters < people_per_batch:
        what = f"there are {clusters} clusters, fewer than the {people_per_batch} people of a batch"
        fewer = f"put at most {clusters} people in a batch" if clusters > 1 else "take more images"
        advice = f"{raised(report, prefix) if outliers > largest else lowered(report, prefix)}, or {fewer}"
    else:
        return
    far = report["neighbour_distances"]
    raise PoorClustersError(
        f"{what}: {prefix}eps {report['eps']:g} leaves {outliers:.1%} of {report['images']} images as outliers; "
        f"{report['min_samples']} images (itself included) lie within Jaccard distance {far['10']:.2f} of 10 % of the images, "
        f"{far['50']:.2f} of 50 % and {far['90']:.2f} of 90 %; {advice}"
    )


def raised(report: dict[str, Any], prefix: str) -> str:
    """Advise a larger eps, at which half of the images are core images, where there is one."""
    better = np.ceil(20 * max(report["neighbour_distances"]["50"], report["eps"] + 0.05)) / 20
    if better < 1:
        return f"try {prefix}eps {better:.2g}"
    return f"the features show no dense places: start from an encoder that knows people, or try a smaller {prefix}min-samples"


def lowered(report: dict[str, Any], prefix: str) -> str:
    """Advise a smaller eps."""
    better = max(min(report["neighbour_distances"]["50"], report["eps"] - 0.1), report["eps"] / 2)
    return f"try {prefix}eps {better:.2g}"
