"""The distance up to which two features are taken for one person: from a wanted false-accept rate to a threshold and back.

False-accept rate: share of the pairs of two people that are taken for one. False-reject rate: share of the pairs of one person
that are taken for two. Both rise and fall with the threshold.

Intervals are bootstrap intervals over people: as many people are drawn with replacement as there are, with all their images, and
everything is computed anew. Pairs between copies of a person are no pairs of two people. People are drawn and not pairs, because
pairs that share a person are not independent of each other. Where pairs of look-alikes are rare and unrelated, the interval is
wider than it need be (Owen, "The pigeonhole bootstrap", 2007).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upreid.errors import InputError
from upreid.retrieval.pairs import BINS, LabelledFeatures, Opportunities, Tally, opportunities, tally
from upreid.retrieval.ranking import IntArray

REPLICATES = 500
"""Number of times that people are drawn."""
PERCENTILES = (2.5, 97.5)
"""Ends of an interval of 95 %."""
MOST_LISTED = 2**21
"""Number of pairs of two people, about, that are listed for the bootstrap; of more, every second, third, ... one is."""
SAMPLE = 1024
"""Number of images from which the distances are guessed up to which pairs are listed."""
BEYOND = 4.0
"""Listed pairs reach up to so many times the wanted false-accept rate."""
LEAST_PEOPLE = 10
"""Number of people below which nothing can be said about others."""

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A threshold, as some people give it."""

    distance: float
    interval: Interval
    """Interval of the threshold."""
    expected: Interval
    """Interval of its false-accept rate on so many others as will be tested."""
    tally: Tally


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What a threshold does to people who were kept apart."""

    false_accept: float
    false_accept_interval: Interval
    false_reject: float
    false_reject_interval: Interval
    stranger_share: float
    """Share of the images that have one of another person within the threshold, among all others of these people."""
    tally: Tally


def split_people(some: LabelledFeatures, test_share: float, seed: int) -> tuple[LabelledFeatures, LabelledFeatures]:
    """Divide people into those for calibration and those for the test: at random, or tracklets by video and time.

    Tracklets of one video may show the same person again, so none are drawn: the order of videos and frames is cut at one place.
    """
    if some.moments is None:
        order = np.random.default_rng(seed).permutation(some.num_people)
    else:
        _, first = np.unique(some.people, return_index=True)
        order = np.lexsort((some.moments[first, 1], some.moments[first, 0]))
    cut = some.num_people - round(test_share * some.num_people)
    return some.part(np.sort(order[:cut])), some.part(np.sort(order[cut:]))


def check_people(some: LabelledFeatures, false_accept: float, what: str) -> None:
    """Refuse people who are too few, or whose pairs cannot say anything about such a rate; `what` they are for."""
    if some.num_people < LEAST_PEOPLE:
        raise InputError(f"{some.num_people} people {what}: at least {LEAST_PEOPLE} are needed there; give more people")
    listed = opportunities(some).listed
    pairs = some.num_people * (some.num_people - 1) // 2 if listed is None else len(listed)
    if pairs * false_accept < 1:
        raise InputError(
            f"{some.num_people} people {what} make {pairs} pairs of two people, too few for a false-accept rate of "
            f"{false_accept:g}: the least is {1 / max(pairs, 1):.1g}; give more people, or a higher --false-accept"
        )
    if not has_same_pairs(some):
        raise InputError(f"none of the {some.num_people} people {what} has two images that count as a pair; give more")


def has_same_pairs(some: LabelledFeatures) -> bool:
    """Tell whether there is any pair of one person that counts."""
    if some.pairs is not None:
        return bool((some.people[some.pairs[:, 0]] == some.people[some.pairs[:, 1]]).any())
    seen = np.unique(np.column_stack([some.people, some.cameras]), axis=0)
    unknown = np.bincount(some.people[some.cameras < 0], minlength=some.num_people)
    return bool((np.bincount(seen[:, 0]) > 1).any() or (unknown > 1).any())


def calibrate(
    some: LabelledFeatures, false_accept: float, *, metric: str, width: float, num_others: int, seed: int
) -> Calibrated:
    """Find the largest distance at which at most a share `false_accept` of the pairs of two people is taken for one.

    `num_others`: how many people the expectation is for.
    """
    chance = opportunities(some)
    total = chance.count(np.ones(some.num_people, dtype=np.int64))
    limit = BINS if total <= MOST_LISTED else guessed_limit(some, BEYOND * false_accept, metric=metric, width=width)
    thinned = max(1, round(total * min(1.0, BEYOND * false_accept) / MOST_LISTED)) if limit < BINS else 1
    found = tally(some, metric=metric, width=width, limit=limit, thinned=thinned)
    step = threshold_step(found, false_accept)
    if step >= limit < BINS:  # the sample was not like the whole
        limit = min(BINS, threshold_step(found, min(1.0, BEYOND * false_accept)) + 1)
        found = tally(some, metric=metric, width=width, limit=limit, thinned=thinned)
    steps, rates = [], []
    draws = zip(weights(some.num_people, seed), weights(some.num_people, seed + 1, num_others), strict=True)
    for own, others in draws:
        steps.append(resampled_step(found, chance, own, false_accept))
        rates.append(accepted(found, others, steps[-1]) / max(chance.count(others), 1))
    return Calibrated(
        distance=max(step, 0) * width,
        interval=interval(np.maximum(steps, 0) * width),
        expected=interval(rates),
        tally=found,
    )


def guessed_limit(some: LabelledFeatures, rate: float, *, metric: str, width: float) -> int:
    """Guess the step up to which a share `rate` of the pairs of two people lies, from images spread evenly over all."""
    places = np.unique(np.linspace(0, len(some.people) - 1, SAMPLE).astype(np.int64))
    people, numbers = np.unique(some.people[places], return_inverse=True)
    assert len(people) > 1
    sample = LabelledFeatures(
        features=some.features[places],
        people=numbers,
        cameras=some.cameras[places],
        moments=None if some.moments is None else some.moments[places],
    )
    found = tally(sample, metric=metric, width=width, limit=-1)
    return threshold_step(found, rate) + 1 if rate < 1 and int(found.different.sum()) else BINS


def threshold_step(found: Tally, false_accept: float) -> int:
    """Return the last step up to which at most a share `false_accept` of the pairs of two people lies; -1 where there is none."""
    admitted = found.different.cumsum(0).numpy()
    return int(np.searchsorted(admitted, false_accept * admitted[-1], side="right")) - 1


def weights(people: int, seed: int, draws: int | None = None) -> Iterator[IntArray]:
    """Draw people with replacement, `draws` or as many as there are, and yield how often each was drawn; `REPLICATES` times."""
    numbers = np.random.default_rng(seed)
    for _ in range(REPLICATES):
        yield np.bincount(numbers.integers(0, people, draws or people), minlength=people)


def resampled_step(found: Tally, chance: Opportunities, drawn: IntArray, false_accept: float) -> int:
    """Return the step of the threshold for people who were drawn so often; where the listed pairs do not reach, the last."""
    steps, first, second = found.near.numpy().T
    admitted = np.cumsum(drawn[first] * drawn[second]) * found.thinned
    place = int(np.searchsorted(admitted, false_accept * chance.count(drawn), side="right"))
    return int(steps[place]) - 1 if place < len(steps) else found.limit


def accepted(found: Tally, drawn: IntArray, step: int) -> float:
    """Count the pairs of two people up to a step, for people who were drawn so often."""
    steps, first, second = found.near.numpy().T
    admitted = slice(0, int(np.searchsorted(steps, step, side="right")))
    return float((drawn[first[admitted]] * drawn[second[admitted]]).sum()) * found.thinned


def check(
    some: LabelledFeatures, distance: float, false_accept: float, *, metric: str, width: float, seed: int
) -> Tested:
    """Say what a threshold does to some people; about `false_accept` of their pairs are expected within it."""
    step, chance = round(distance / width), opportunities(some)
    once = np.ones(some.num_people, dtype=np.int64)
    thinned = max(1, round(chance.count(once) * false_accept / MOST_LISTED))
    found = tally(some, metric=metric, width=width, limit=step, thinned=thinned)
    pairs, far = found.same_pairs.numpy(), found.same_far.numpy()
    accepts, rejects = [], []
    for drawn in weights(some.num_people, seed):
        accepts.append(accepted(found, drawn, step) / max(chance.count(drawn), 1))
        rejects.append((drawn * far).sum() / max((drawn * pairs).sum(), 1))
    return Tested(
        false_accept=float(found.different[: step + 1].sum() / found.different.sum()),
        false_accept_interval=interval(accepts),
        false_reject=float(far.sum() / pairs.sum()),
        false_reject_interval=interval(rejects),
        stranger_share=float(found.near_stranger.mean()),
        tally=found,
    )


def interval(values: list[float] | NDArray[np.float64]) -> Interval:
    """Return the ends of the interval that holds 95 % of the replicates."""
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Both error rates at each step: at distance k x width for step k."""

    false_accept: NDArray[np.float64]
    false_reject: NDArray[np.float64]
    width: float

    @property
    def equal_error(self) -> tuple[float, float]:
        """Return the rate at which both are equal, and the distance, on the line between the two steps where they cross."""
        gap = self.false_accept - self.false_reject
        after = int(np.argmax(gap >= 0))
        if after == 0 or gap[after] == 0:
            return float(self.false_accept[after]), after * self.width
        part = -gap[after - 1] / (gap[after] - gap[after - 1])
        before = self.false_accept[after - 1]
        return float(before + part * (self.false_accept[after] - before)), (after - 1 + part) * self.width

    def at(self, false_accept: float) -> dict[str, float]:
        """Return what another false-accept rate would cost."""
        step = max(int(np.searchsorted(self.false_accept, false_accept, side="right")) - 1, 0)
        return {
            "false_accept": float(self.false_accept[step]),
            "false_reject": float(self.false_reject[step]),
            "distance": step * self.width,
        }


def curve(found: Tally) -> Curve:
    """Return both error rates at each step."""
    same, different = found.same.cumsum(0).numpy(), found.different.cumsum(0).numpy()
    return Curve(false_accept=different / different[-1], false_reject=1 - same / same[-1], width=found.width)
