"""Clustering of unlabelled images: seconds and peak memory of each phase, at MSMT17's size and far above it.

    python benchmarks/clustering.py --images 4000                              # a minute
    python benchmarks/clustering.py --images 32621 --threads 2                 # MSMT17's training set
    python benchmarks/clustering.py --images 200000 --dimensions 512           # a quarter of an hour

Features are noisy points around people, twenty images each, in 64 directions of many. First a dense numpy implementation at
1,500 images, whose labels must be the same. Each runs in a process of its own; memory is that of the whole process at its peak,
the features included. On a busy machine look at the seconds of the processor, which waiting does not count in.
"""

import argparse
import multiprocessing
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from upreid.retrieval.cluster_report import cluster_line
from upreid.retrieval.clustering import GIBIBYTE, cluster, peak_memory

SMALL = 1_500
IMAGES_PER_PERSON, DIRECTIONS, NOISE = 20, 64, 1.2
EPS, MIN_SAMPLES, K1, K2 = 0.6, 4, 30, 6

Features = NDArray[np.float32]


def problem(images: int, dimensions: int) -> tuple[Features, list[int]]:
    """Make features around people, and who is on each."""
    numbers = np.random.default_rng(0)
    people = numbers.permutation(images) // IMAGES_PER_PERSON
    centres = numbers.standard_normal((people.max() + 1, DIRECTIONS), dtype=np.float32)
    points = numbers.standard_normal((images, DIRECTIONS), dtype=np.float32)
    points *= NOISE
    points += centres[people]
    return points @ numbers.standard_normal((DIRECTIONS, dimensions), dtype=np.float32), people.tolist()


def dense(features: Features) -> NDArray[np.int64]:
    """Cluster with matrices of images x images and loops over images, as public implementations do."""
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    original = 2 - 2 * features @ features.T
    order = np.argsort(original, axis=1, kind="stable")

    def mutual(image: int, k: int) -> NDArray[np.int64]:
        forward = order[image, :k]
        return forward[(order[forward, :k] == image).any(axis=1)]

    codes = np.zeros_like(original)
    for image in range(len(original)):
        own = mutual(image, K1)
        halves = [mutual(other, round(K1 / 2) + 1) for other in own]
        fitting = [half for half in halves if 3 * np.isin(half, own).sum() > 2 * len(half)]
        members = np.unique(np.concatenate([own, *fitting]))
        weights = np.exp(-original[image, members])
        codes[image, members] = weights / weights.sum()
    codes = np.stack([codes[order[image, :K2]].mean(axis=0) for image in range(len(codes))])
    found = np.empty_like(original)
    for row, code in zip(found, codes, strict=True):
        used = np.flatnonzero(code)
        shared = np.minimum(codes[:, used], code[used]).sum(axis=1)
        row[:] = 1 - shared / (2 - shared)
    return DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric="precomputed").fit_predict(found.clip(min=0))


def compare(name: str, dimensions: int) -> tuple[list[int], float, float]:
    """Return labels, seconds and GiB of one implementation at the small size."""
    torch.set_num_threads(1)
    features, _ = problem(SMALL, dimensions)
    started = time.perf_counter()
    labels = dense(features) if name == "dense" else cluster(features, eps=EPS, k1=K1, k2=K2, quiet=True).labels
    return labels.tolist(), time.perf_counter() - started, peak_memory() / GIBIBYTE


def measure(images: int, dimensions: int, threads: int) -> None:
    """Print seconds and memory of each phase at one size."""
    torch.set_num_threads(threads)
    features, people = problem(images, dimensions)
    held, started, worked = peak_memory() / GIBIBYTE, time.perf_counter(), time.process_time()
    report: dict[str, Any] = cluster(features, eps=EPS, k1=K1, k2=K2, people=people).report
    total, worked = time.perf_counter() - started, time.process_time() - worked
    print(f"\n{images} images, {dimensions} dimensions, threads: {threads}")
    for name, phase in report["phases"].items():
        print(f"  {name:12s} {phase['seconds']:8.1f} s   peak so far {phase['peak_gib']:.2f} GiB")
    print(f"  {'total':12s} {total:8.1f} s   of the processor {worked:.1f} s, {held:.2f} GiB before it began")
    print(f"  {cluster_line(report)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of clustering")
    parser.add_argument("--images", type=int, default=12_936)
    parser.add_argument("--dimensions", type=int, default=2_048)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    start = multiprocessing.get_context("spawn")
    results = {}
    for name in ("dense", "upreid"):
        with start.Pool(1) as pool:
            results[name] = pool.apply(compare, (name, given.dimensions))
    print(f"{SMALL} images, {given.dimensions} dimensions, one thread")
    for name, (_, seconds, gigabytes) in results.items():
        print(f"  {name:12s} {seconds:8.1f} s   peak {gigabytes:.2f} GiB")
    assert results["dense"][0] == results["upreid"][0]
    print(f"  labels are equal, ratio {results['dense'][1] / results['upreid'][1]:.1f}")
    work = start.Process(target=measure, args=(given.images, given.dimensions, given.threads))
    work.start()
    work.join()
    raise SystemExit(work.exitcode)


if __name__ == "__main__":
    main()
