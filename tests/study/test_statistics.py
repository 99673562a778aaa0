import math

import pytest
from scipy import stats

from upreid.study.analysis import by_seed, interval, paired


def test_the_interval_is_that_of_a_t_test() -> None:
    values = [0.3, 1.2, -0.4, 0.9, 0.7, 0.1, 0.8, 0.5]
    found = interval(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.n == 8
    assert found.is_clear_of_zero == (stats.ttest_1samp(values, 0.0).pvalue < 0.05)


def test_two_values_have_the_interval_of_a_textbook() -> None:
    found = interval([1.0, 3.0])
    assert found.mean == 2
    assert found.std == pytest.approx(math.sqrt(2))
    assert found.half_width == pytest.approx(12.7062, rel=1e-4)
    assert not found.is_clear_of_zero


def test_one_value_has_no_spread() -> None:
    found = interval([2.0])
    assert (found.std, found.half_width, found.low, found.high) == (None, None, None, None)
    assert not found.is_clear_of_zero


def test_only_seeds_that_both_have_are_paired() -> None:
    assert paired({1: 5.0, 2: 7.0, 4: 1.0}, {4: 3.0, 1: 4.0, 3: 0.0}) == [1.0, -2.0]


def test_repeats_of_a_seed_are_one_value() -> None:
    assert by_seed([(1, 2.0), (2, 5.0), (1, 4.0)]) == {1: 3.0, 2: 5.0}
