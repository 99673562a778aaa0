"""Metrics of a retrieval problem, against a plain loop over queries and against sorting everything at once.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --msmt17 --threads 2    # and from features, 11,659 x 82,161, 2,048 dimensions

From given distances at Market-1501's size, 3,368 queries x 15,913 gallery entries, on one thread. All must give the same mAP
and Rank-1. Each runs in a process of its own; memory is the peak above the distances (or features) it is given.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from upreid.retrieval.metrics import evaluate_distances, evaluate_features
from upreid.retrieval.ranking import Labels

ROUNDS, DIRECTIONS = 3, 64
MARKET = {"queries": 3_368, "gallery": 15_913, "people": 750, "distractors": 2_798, "cameras": 6}
MSMT17 = {"queries": 11_659, "gallery": 82_161, "people": 3_060, "distractors": 0, "cameras": 15}

Matrix = NDArray[np.float32]
Scores = tuple[float, float]


def problem(*, queries: int, gallery: int, people: int, distractors: int, cameras: int) -> tuple[Matrix, Labels]:
    """Make noisy points of some people, queries first, with distractors of person 0 in the gallery."""
    numbers = np.random.default_rng(0)
    query_people = np.arange(queries) % people + 1
    gallery_people = np.concatenate([np.zeros(distractors, dtype=int), np.arange(gallery - distractors) % people + 1])
    centres = numbers.standard_normal((people + 1, DIRECTIONS), dtype=np.float32)
    points = numbers.standard_normal((queries + gallery, DIRECTIONS), dtype=np.float32)
    points += centres[np.concatenate([query_people, gallery_people])]
    labels = Labels(
        query_people=query_people,
        gallery_people=gallery_people,
        query_cameras=numbers.integers(1, cameras + 1, queries),
        gallery_cameras=numbers.integers(1, cameras + 1, gallery),
    )
    return points, labels


def upreid(distances: Matrix, labels: Labels) -> Scores:
    """Evaluate with ours, in chunks as they would come from features."""
    found = evaluate_distances((distances[start : start + 512] for start in range(0, len(distances), 512)), labels)
    return found["mAP"], found["rank1"]


def plain_loop(distances: Matrix, labels: Labels) -> Scores:
    """Sort every row, walk down the ranking: what most evaluators do."""
    precisions, firsts = [], []
    for row, person, camera in zip(distances, labels.query_people, labels.query_cameras, strict=True):
        order = np.argsort(row, kind="stable")
        people, cameras = labels.gallery_people[order], labels.gallery_cameras[order]
        hits = (people == person)[~((people == person) & (cameras == camera))]
        if hits.any():
            ranks = np.flatnonzero(hits) + 1
            precisions.append((np.arange(1, len(ranks) + 1) / ranks).mean())
            firsts.append(hits[0])
    return 100 * float(np.mean(precisions)), 100 * float(np.mean(firsts))


def full_argsort(distances: Matrix, labels: Labels) -> Scores:
    """Sort all rows at once, then work on whole matrices."""
    order = np.argsort(distances, axis=1, kind="stable")
    is_same = labels.gallery_people[order] == labels.query_people[:, None]
    is_junk = is_same & (labels.gallery_cameras[order] == labels.query_cameras[:, None])
    hits = is_same & ~is_junk
    ranks = np.cumsum(~is_junk, axis=1)
    precisions = np.cumsum(hits, axis=1) / np.maximum(ranks, 1)
    counts = hits.sum(axis=1)
    valid = counts > 0
    means = (precisions * hits).sum(axis=1)[valid] / counts[valid]
    return 100 * float(means.mean()), 100 * float((hits & (ranks == 1)).any(axis=1)[valid].mean())


def held() -> int:
    """Return the KiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def from_distances(evaluate: Callable[[Matrix, Labels], Scores]) -> tuple[Scores, float, float]:
    """Return scores, best seconds, and MiB above the distances."""
    torch.set_num_threads(1)
    points, labels = problem(**MARKET)
    distances = -points[: MARKET["queries"]] @ points[MARKET["queries"] :].T
    before, seconds, scores = held(), float("inf"), (0.0, 0.0)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        scores = evaluate(distances, labels)
        seconds = min(seconds, time.perf_counter() - started)
    return scores, seconds, (held() - before) / 1024


def from_features(metric: str, threads: int, size: dict[str, int] = MSMT17) -> tuple[float, float, float]:
    """Return mAP, seconds, and MiB above the features, of the whole of `evaluate_features`."""
    torch.set_num_threads(threads)
    points, labels = problem(**size)
    features = points @ np.random.default_rng(1).standard_normal((DIRECTIONS, 2_048), dtype=np.float32)
    query, gallery = features[: size["queries"]], features[size["queries"] :]
    people, cameras = (labels.query_people, labels.gallery_people), (labels.query_cameras, labels.gallery_cameras)
    before, started = held(), time.perf_counter()
    found = evaluate_features(query, gallery, *people, *cameras, metric=metric)
    return found["mAP"], time.perf_counter() - started, (held() - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of evaluation")
    parser.add_argument("--msmt17", action="store_true", help="evaluate features at MSMT17's size as well")
    parser.add_argument("--threads", type=int, default=1, help="for --msmt17")
    given = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    results = {}
    for evaluate in (plain_loop, full_argsort, upreid):
        with fresh.Pool(1) as pool:
            results[evaluate] = pool.apply(from_distances, (evaluate,))
    ours, our_seconds, _ = results[upreid]
    for evaluate, (scores, seconds, memory) in results.items():
        ratio = f"{seconds / our_seconds:5.1f}x"
        print(
            f"{evaluate.__name__:13s}{seconds:7.2f} s  {ratio}  {memory:6.0f} MiB   mAP, Rank-1 {np.round(scores, 4)}"
        )
        assert np.allclose(scores, ours, rtol=1e-12), results
    for metric in ("cosine", "euclidean") if given.msmt17 else ():
        with fresh.Pool(1) as pool:
            score, seconds, memory = pool.apply(from_features, (metric, given.threads))
        print(f"MSMT17, {metric}, threads {given.threads}: {seconds:.1f} s, {memory:.0f} MiB, mAP {score:.4f}")


if __name__ == "__main__":
    main()
