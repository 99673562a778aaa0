"""The reliability criterion of SpCL: an example by hand, and the loop over sets of images."""

from fractions import Fraction

import numpy as np
import pytest

from upreid.retrieval.reliable_clusters import overlaps, reliable

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
LOOSER = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0])  # takes the outlier into the first cluster, and joins the two others
TIGHTER = np.array([0, 0, 0, -1, 1, 1, 1, 2, 2, -1])  # leaves the fourth image out


def test_overlaps_by_hand() -> None:
    assert overlaps(LABELS, LOOSER).tolist() == [4 / 5] * 4 + [3 / 5] * 3 + [2 / 5] * 2 + [1 / 5]
    assert overlaps(LABELS, TIGHTER).tolist() == [3 / 4] * 3 + [1 / 4] + [1] * 6


@pytest.mark.parametrize(
    ("independence", "labels"),
    [
        (None, [0, 0, 0, -1, 1, 1, 1, 2, 2, -1]),  # nine in ten of three clusters are all three
        (0.6, [0, 0, 0, -1, 1, 1, 1, -1, -1, -1]),
        (0.7, [0, 0, 0, -1, -1, -1, -1, -1, -1, -1]),
        (0.9, [-1] * 10),
    ],
)
def test_an_example_by_hand(independence: float | None, labels: list[int]) -> None:
    kept = reliable(LABELS, LOOSER, TIGHTER, independence)
    assert kept.labels.tolist() == labels
    assert kept.independence == (0.4 if independence is None else independence)


def test_the_least_independent_of_twenty_clusters_is_dropped_and_the_next_is_the_threshold() -> None:
    labels = np.repeat(np.arange(20), 4)
    looser = np.concatenate([labels, [18, 19, 19]])
    labels = np.concatenate([labels, [-1, -1, -1]])
    kept = reliable(labels, looser, labels)
    assert kept.independence == 4 / 5
    assert (kept.labels == np.where(labels == 19, -1, labels)).all()


def test_without_clusters_the_threshold_stays_open() -> None:
    none = np.full(5, -1)
    kept = reliable(none, np.array([0, 0, -1, -1, -1]), none)
    assert (kept.labels.tolist(), kept.independence) == ([-1] * 5, None)


def clusters_of(labels: np.ndarray) -> list[set[int]]:
    """Return the cluster of each image as a set of images."""
    return [
        {place} if own < 0 else {other for other, label in enumerate(labels) if label == own}
        for place, own in enumerate(labels)
    ]


def slow(labels: np.ndarray, looser: np.ndarray, tighter: np.ndarray, least: Fraction | None) -> list[int]:
    own, loose, tight = (clusters_of(some) for some in (labels, looser, tighter))
    score = [[Fraction(len(a & b), len(a | b)) for a, b in zip(own, other, strict=True)] for other in (loose, tight)]
    clusters = [sorted(own[list(labels).index(label)]) for label in sorted(set(labels) - {-1})]
    independent = [max(score[0][place] for place in one) for one in clusters]
    if least is None:
        best_first = sorted((s for s, one in zip(independent, clusters, strict=True) if len(one) > 1), reverse=True)
        least = best_first[min(len(best_first) - 1, round(0.9 * len(best_first)))]
    found, number = [-1] * len(labels), 0
    for one, how in zip(clusters, independent, strict=True):
        compact = max(score[1][place] for place in one)
        kept = [place for place in one if how >= least and score[1][place] == compact]
        if len(kept) > 1:
            for place in kept:
                found[place] = number
            number += 1
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("least", [None, Fraction(1, 2)])
def test_random_clusterings_give_what_the_loop_over_sets_gives(seed: int, least: Fraction | None) -> None:
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(-1, 12, 60)
    _, labels[labels >= 0] = np.unique(labels[labels >= 0], return_inverse=True)
    looser = np.where(numbers.random(60) < 0.2, numbers.integers(-1, 12, 60), np.maximum(labels - 1, -1))
    tighter = np.where(numbers.random(60) < 0.3, -1, labels)
    kept = reliable(labels, looser, tighter, None if least is None else float(least))
    assert kept.labels.tolist() == slow(labels, looser, tighter, least)
    assert 0 < (kept.labels >= 0).sum() < (labels >= 0).sum()
