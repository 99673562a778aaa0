"""Means, spreads and paired differences over pre-training seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student

CONFIDENCE = 0.95
ENOUGH_FOR_A_CLAIM = 8
"""Paired seeds; below it, differences are for choosing what to look at again."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean of some values, and how sure it is."""

    mean: float
    std: float | None
    """Sample standard deviation; None for a single value."""
    half_width: float | None
    """Of the two-sided 95 % t-interval of the mean; None for a single value."""
    n: int

    @property
    def low(self) -> float | None:
        """Lower end."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end."""
        return None if self.half_width is None else self.mean + self.half_width

    @property
    def is_clear_of_zero(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def interval(values: Sequence[float]) -> Interval:
    """Mean and t-interval, the values taken as independent and about normal.

    half_width = t(0.975, n - 1) * std / sqrt(n)
    """
    n = len(values)
    if n == 1:
        return Interval(mean=values[0], std=None, half_width=None, n=1)
    std = stdev(values)
    quantile = float(student.ppf(0.5 + CONFIDENCE / 2, n - 1))
    return Interval(mean=fmean(values), std=std, half_width=quantile * std / math.sqrt(n), n=n)


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """First minus second for every seed that both have."""
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


def by_seed(values: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Seed -> mean of its values: repeated fine-tunings of one pre-training are no independent evidence."""
    found: dict[int, list[float]] = {}
    for seed, value in values:
        found.setdefault(seed, []).append(value)
    return {seed: fmean(some) for seed, some in found.items()}
