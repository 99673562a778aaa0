"""Re-ranking: time of each phase and peak memory, and a dense numpy implementation beside it where that fits.

    python benchmarks/reranking.py
    python benchmarks/reranking.py --queries 11659 --gallery 82161 --dimensions 2048 --threads 2    # MSMT17's size

Features are noisy points around people, eleven images each. First both implementations at 500 x 2,500, which must agree;
then ours alone, at Market-1501's size unless told, with the metrics computed from the rows as they come. Each runs in a
process of its own; memory is that of the whole process at its peak, the features included.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from upreid.retrieval import rerank
from upreid.retrieval.metrics import evaluate_distances
from upreid.retrieval.ranking import Labels

SMALL = (500, 2_500)
IMAGES_PER_PERSON, CAMERAS, DIRECTIONS, NOISE = 11, 6, 64, 1.2
PHASES = ("images_of", "neighbours", "neighbourhoods", "encode", "expand_queries")
MSMT17 = 93_820

Features = NDArray[np.float32]


def problem(queries: int, gallery: int, dimensions: int) -> tuple[Features, Features, Labels]:
    """Make features around people, in few directions of many as networks make them, and who the people are."""
    numbers = np.random.default_rng(0)
    count = queries + gallery
    people = numbers.permutation(count) // IMAGES_PER_PERSON
    cameras = numbers.integers(0, CAMERAS, count)
    centres = numbers.standard_normal((people.max() + 1, DIRECTIONS), dtype=np.float32)
    points = numbers.standard_normal((count, DIRECTIONS), dtype=np.float32)
    points *= NOISE
    points += centres[people]
    features = points @ numbers.standard_normal((DIRECTIONS, dimensions), dtype=np.float32)
    labels = Labels(
        query_people=people[:queries],
        query_cameras=cameras[:queries],
        gallery_people=people[queries:],
        gallery_cameras=cameras[queries:],
    )
    return features[:queries], features[queries:], labels


def dense(query: Features, gallery: Features, k1: int = 20, k2: int = 6, share: float = 0.3) -> Features:
    """Re-rank with matrices of images x images and a loop over images, as public implementations have it."""
    features = np.concatenate([query, gallery])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    original = 2 - 2 * features @ features.T
    original /= original.max(axis=1, keepdims=True)
    order = np.argsort(original, axis=1, kind="stable")

    def reciprocal(image: int, k: int) -> NDArray[np.int64]:
        forward = order[image, : k + 1]
        return forward[(order[forward, : k + 1] == image).any(axis=1)]

    codes = np.zeros_like(original)
    for image in range(len(original)):
        own = reciprocal(image, k1)
        halves = [reciprocal(other, round(k1 / 2)) for other in own]
        fitting = [half for half in halves if 3 * np.isin(half, own).sum() > 2 * len(half)]
        members = np.unique(np.concatenate([own, *fitting]))
        weights = np.exp(-original[image, members])
        codes[image, members] = weights / weights.sum()
    if k2 > 1:
        codes = np.stack([codes[order[image, :k2]].mean(axis=0) for image in range(len(codes))])
    found = np.empty((len(query), len(gallery)), dtype=np.float32)
    for row, code in zip(found, codes, strict=False):
        used = np.flatnonzero(code)
        shared = np.minimum(codes[len(query) :, used], code[used]).sum(axis=1)
        row[:] = 1 - shared / (2 - shared)
    return (1 - share) * found + share * original[: len(query), len(query) :]


def timed(module: Any, names: tuple[str, ...]) -> dict[str, float]:
    """Make functions of a module add up the seconds spent in them."""
    seconds = dict.fromkeys(names, 0.0)

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = function(*values, **named)
            seconds[name] += time.perf_counter() - started
            return result

        return call

    for name in names:
        setattr(module, name, wrap(name, getattr(module, name)))
    return seconds


def peak() -> float:
    """Return the GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def compare(name: str, dimensions: int) -> tuple[Features, float, float]:
    """Return distances, seconds and GiB of one implementation at the small size."""
    torch.set_num_threads(1)
    query, gallery, _ = problem(*SMALL, dimensions)
    started = time.perf_counter()
    found = dense(query, gallery) if name == "dense" else rerank.rerank(query, gallery, quiet=True)
    return found, time.perf_counter() - started, peak()


def measure(queries: int, gallery: int, dimensions: int, threads: int) -> None:
    """Print the time of each phase of ours at one size, and what it comes to at MSMT17's size."""
    torch.set_num_threads(threads)
    query_features, gallery_features, labels = problem(queries, gallery, dimensions)
    held = peak()
    seconds = timed(rerank, PHASES)
    started = time.perf_counter()
    rows = rerank.reranked_chunks(query_features, gallery_features)
    scores = evaluate_distances(rows, labels)
    total = time.perf_counter() - started
    seconds["jaccard and original distances, metrics"] = total - sum(seconds.values())
    print(f"\n{queries} x {gallery}, {dimensions} dimensions, threads: {threads}")
    for name, spent in seconds.items():
        print(f"  {name:42s} {spent:8.1f} s")
    print(f"  {'total':42s} {total:8.1f} s   mAP {scores['mAP']:.2f}   Rank-1 {scores['rank1']:.2f}")
    print(f"  peak {peak():.2f} GiB, of which {held:.2f} before it began")
    times = MSMT17 / (queries + gallery)
    minutes = total * times**2 / 60
    print(f"  at most {minutes:.1f} minutes at {MSMT17} images, were every phase to grow with their square")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of re-ranking")
    parser.add_argument("--queries", type=int, default=3_368)
    parser.add_argument("--gallery", type=int, default=15_913)
    parser.add_argument("--dimensions", type=int, default=2_048)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    start = multiprocessing.get_context("spawn")
    results = {}
    for name in ("dense", "upreid"):
        with start.Pool(1) as pool:
            results[name] = pool.apply(compare, (name, given.dimensions))
    print(f"{SMALL[0]} x {SMALL[1]}, {given.dimensions} dimensions, one thread")
    for name, (_, seconds, gigabytes) in results.items():
        print(f"  {name:28s} {seconds:8.1f} s   peak {gigabytes:.2f} GiB")
    difference = float(np.abs(results["dense"][0] - results["upreid"][0]).max())
    print(
        f"  largest difference {difference:.1e} (at most 1e-4), ratio {results['dense'][1] / results['upreid'][1]:.1f}"
    )
    assert difference < 1e-4, difference
    work = start.Process(target=measure, args=(given.queries, given.gallery, given.dimensions, given.threads))
    work.start()
    work.join()
    raise SystemExit(work.exitcode)


if __name__ == "__main__":
    main()
