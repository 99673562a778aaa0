"""Thresholds: exact counts, people drawn anew, and what a threshold does to people that it has not seen."""

import math
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch.nn import functional as F

from upreid.errors import InputError
from upreid.retrieval import calibration, pairs
from upreid.retrieval.calibration import (
    accepted,
    calibrate,
    check,
    check_people,
    curve,
    resampled_step,
    split_people,
)
from upreid.retrieval.pairs import BINS, LabelledFeatures, opportunities, tally, width_for

DIM = 8
KINDS = ("all", "tracklets", "listed")


def crowd(
    people: int, images: int, seed: int, *, spread: float = 0.5, dim: int = DIM, kind: str = "all"
) -> LabelledFeatures:
    """People at random places, and images at random around them, from two cameras and an unknown one."""
    numbers = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    features = numbers.normal(size=(people, dim))[who] + spread * numbers.normal(size=(len(who), dim))
    cameras = numbers.integers(-1, 2, len(who))
    moments = listed = None
    if kind == "tracklets":
        first = numbers.integers(0, 20, people)
        moments = np.stack([numbers.integers(0, 2, people), first, first + numbers.integers(0, 12, people)], axis=1)[
            who
        ]
        cameras = np.full(len(who), -1)
    if kind == "listed":
        every = np.array(list(combinations(range(len(who)), 2)))
        listed = every[numbers.random(len(every)) < 0.5]
        cameras = np.full(len(who), -1)
    return LabelledFeatures(
        features=torch.from_numpy(features.astype(np.float32)),
        people=who,
        cameras=cameras,
        moments=moments,
        pairs=listed,
        tracks=who * 3 + cameras + 1,
    )


def every_pair(some: LabelledFeatures, metric: str) -> Iterator[tuple[float, int, int, bool]]:
    """The slow twin: distance and the two people of each pair that counts, and whether they are one."""
    listed = None if some.pairs is None else {tuple(pair) for pair in some.pairs.tolist()}
    for i, j in combinations(range(len(some.people)), 2):
        if listed is not None and (i, j) not in listed:
            continue
        one, other = some.features[i], some.features[j]
        distance = 1 - F.cosine_similarity(one, other, dim=0) if metric == "cosine" else (one - other).norm()
        if some.people[i] == some.people[j]:
            if some.cameras[i] != some.cameras[j] or some.cameras[i] < 0:
                yield float(distance), int(some.people[i]), int(some.people[j]), True
            continue
        if some.moments is not None:
            (video, first, last), (other_video, other_first, other_last) = some.moments[i], some.moments[j]
            if video != other_video or first > other_last or other_first > last:
                continue
        yield float(distance), int(some.people[i]), int(some.people[j]), False


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_a_loop_over_all_pairs(kind: str, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "TILE", 512)
    some = crowd(9, 5, 3, kind=kind)
    width = width_for(some.features, metric)
    limit = round(0.6 * (1 if metric == "cosine" else 5) / width)
    found = tally(some, metric=metric, width=width, limit=limit)
    slow = list(every_pair(some, metric))
    for is_same, counted in ((True, found.same), (False, found.different)):
        steps = np.sort([distance / width for distance, _, _, same in slow if same is is_same])
        np.testing.assert_allclose(np.repeat(np.arange(BINS + 1), counted.numpy()), steps, atol=1.5)
    near = sorted((a, b) for distance, a, b, same in slow if not same and distance <= limit * width)
    assert sorted(map(tuple, found.near[:, 1:].tolist())) == near
    far = [a for distance, a, _, same in slow if same and distance > limit * width]
    assert found.same_far.tolist() == np.bincount(far, minlength=9).tolist()
    assert opportunities(some).count(np.ones(9, dtype=np.int64)) == int(found.different.sum())


def test_blocks_of_many_images_count_as_one_block_does() -> None:
    some = crowd(150, 8, 0)  # 1200 images: three tiles
    width = width_for(some.features, "euclidean")
    found = tally(some, metric="euclidean", width=width, limit=0)
    distances = torch.cdist(some.features.double(), some.features.double())
    people, cameras = torch.from_numpy(some.people), torch.from_numpy(some.cameras)
    upper = torch.ones(1200, 1200).triu(1).bool()
    is_same = people[:, None] == people[None]
    different = distances[upper & ~is_same].sort().values / width
    np.testing.assert_allclose(np.repeat(np.arange(BINS + 1), found.different.numpy()), different, atol=1.5)
    counts = upper & is_same & ((cameras[:, None] != cameras[None]) | (cameras[:, None] < 0))
    assert int(found.same.sum()) == int(counts.sum())


@given(seed=st.integers(0, 1000), kind=st.sampled_from(KINDS), rate=st.floats(0.02, 0.5))
def test_people_drawn_anew_are_a_loop_over_copies_of_people(seed: int, kind: str, rate: float) -> None:
    some = crowd(6, 3, seed, kind=kind)
    chance = opportunities(some)
    drawn = np.bincount(np.random.default_rng(seed).integers(0, 6, 6), minlength=6)
    width = width_for(some.features, "euclidean")
    found = tally(some, metric="euclidean", width=width, limit=BINS)
    # the slow twin: each pair of two people once for each pair of their copies
    copies = sorted(
        math.ceil(distance / width)
        for distance, a, b, same in every_pair(some, "euclidean")
        if not same
        for _ in range(drawn[a] * drawn[b])
    )
    assert chance.count(drawn) == len(copies)
    admitted = math.floor(rate * len(copies))
    if admitted < len(copies):
        step = resampled_step(found, chance, drawn, rate)
        assert abs(step - (copies[admitted] - 1)) <= 1  # the loop rounds at another place
        assert accepted(found, drawn, step) <= rate * len(copies)


@pytest.mark.parametrize("false_accept", [0.01, 0.05])
def test_a_threshold_is_that_of_the_known_distribution(false_accept: float) -> None:
    some = crowd(200, 4, 1)
    width = width_for(some.features, "euclidean")
    found = calibrate(some, false_accept, metric="euclidean", width=width, num_others=200, seed=1)
    truth = math.sqrt(2 * (1 + 0.5**2) * chi2.ppf(false_accept, DIM))  # of a difference of two people's images
    assert found.interval[0] < truth < found.interval[1]
    assert found.interval[0] < found.distance < found.interval[1]
    assert found.distance == pytest.approx(truth, rel=0.03)


@pytest.mark.slow
def test_false_accepts_on_other_people_are_within_their_interval() -> None:
    inside, expected = 0, 0
    for seed in range(20):
        own, others = split_people(crowd(100, 4, seed), 0.5, seed)
        width = width_for(own.features, "euclidean")
        how = {"metric": "euclidean", "width": width, "seed": seed}
        found = calibrate(own, 0.02, num_others=50, **how)
        tested = check(others, found.distance, 0.02, **how)
        expected += found.expected[0] <= tested.false_accept <= found.expected[1]
        inside += tested.false_accept_interval[0] <= 0.02 <= tested.false_accept_interval[1]
    assert expected >= 17  # 19 of 20 on average
    assert inside >= 15  # an interval of the tested people alone does not know that the threshold is uncertain too


def test_both_rates_cross_at_the_equal_error_rate() -> None:
    some = crowd(60, 4, 2)
    width = width_for(some.features, "euclidean")
    line = curve(tally(some, metric="euclidean", width=width, limit=0))
    rate, distance = line.equal_error
    slow = list(every_pair(some, "euclidean"))
    accepts = np.mean([found <= distance for found, _, _, same in slow if not same])
    rejects = np.mean([found > distance for found, _, _, same in slow if same])
    assert accepts == pytest.approx(rate, abs=0.005)
    assert rejects == pytest.approx(rate, abs=0.005)


def test_thinned_pairs_give_nearly_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    some = crowd(120, 6, 4)
    how = {"metric": "cosine", "width": width_for(some.features, "cosine"), "num_others": 100, "seed": 1}
    whole = calibrate(some, 0.05, **how)
    monkeypatch.setattr(calibration, "MOST_LISTED", 10_000)
    thinned = calibrate(some, 0.05, **how)
    assert thinned.tally.thinned > 1
    assert len(thinned.tally.near) < len(whole.tally.near) / 10
    assert thinned.distance == whole.distance
    assert thinned.interval == pytest.approx(whole.interval, abs=0.01)
    assert thinned.expected == pytest.approx(whole.expected, rel=0.1)


BIG = """
import resource
import numpy as np, torch
from upreid.retrieval.calibration import calibrate, check
from upreid.retrieval.pairs import LabelledFeatures, width_for

numbers = np.random.default_rng(0)
people = np.repeat(np.arange(2000), 10)
features = numbers.normal(size=(2000, 8))[people] + 0.5 * numbers.normal(size=(20000, 8))
some = LabelledFeatures(
    features=torch.from_numpy(features.astype(np.float32)), people=people, cameras=numbers.integers(0, 3, 20000)
)
how = {"metric": "cosine", "width": width_for(some.features, "cosine"), "seed": 1}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = calibrate(some, 0.01, num_others=2000, **how)
check(some, found.distance, 0.01, **how)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, int(found.tally.different.sum()))
"""


@pytest.mark.slow
def test_twenty_thousand_images_need_no_matrix_of_all_pairs() -> None:
    done = subprocess.run([sys.executable, "-c", BIG], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    megabytes, pairs_of_two = map(int, done.stdout.split())
    assert pairs_of_two == 100 * 2000 * 1999 // 2
    assert megabytes < 800  # in single precision all distances would be 1,526


def test_means_over_tracklets_are_of_unit_vectors_for_cosine_distances() -> None:
    some = crowd(5, 6, 0)
    means = some.means("cosine")
    for track, mean in zip(means.tracks, means.features, strict=True):
        own = F.normalize(some.features[torch.from_numpy(some.tracks == track)])
        torch.testing.assert_close(mean, own.mean(dim=0))
    assert len(means.people) == len(np.unique(some.tracks))


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_both_calibrated_on_and_tested_on(kind: str) -> None:
    some = crowd(30, 4, 5, kind=kind)
    own, others = split_people(some, 0.3, 7)
    assert (own.num_people, others.num_people) == (21, 9)
    rows = {tuple(row) for row in some.features.tolist()}
    first, second = ({tuple(row) for row in part.features.tolist()} for part in (own, others))
    assert first | second == rows
    assert not first & second
    if kind == "tracklets":
        last = own.moments[:, :2].tolist()
        assert max(last) <= min(others.moments[:, :2].tolist())


def test_too_few_people_are_refused_by_what_they_could_say() -> None:
    with pytest.raises(InputError, match="at least 10"):
        check_people(crowd(9, 4, 0), 0.1, "to test on")
    with pytest.raises(InputError, match=r"too few for a false-accept rate of 0\.01: the least is 0\.02"):
        check_people(crowd(11, 4, 0), 0.01, "to test on")
    check_people(crowd(11, 4, 0), 0.02, "to test on")
    with pytest.raises(InputError, match="two images that count"):
        check_people(crowd(30, 1, 0), 0.01, "to test on")
