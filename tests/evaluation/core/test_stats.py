"""Student-t intervals against scipy and hand values."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from fdnf.evaluation.core import stats
from fdnf.evaluation.core.stats import Interval


def test_three_seeds_by_hand():
    # s = 1, t_2(0.975) = 4.302653.
    half = pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert stats.over([1.0, 2.0, 3.0]) == Interval(2.0, half, 3, 3)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_interval_is_scipys(level):
    values = np.random.default_rng(0).normal(3, 2, size=7)
    mean, half, *_ = stats.over(values, level)
    spread = reference.sem(values)
    expected = reference.t.interval(level, 6, loc=values.mean(), scale=spread)
    assert (mean - half, mean + half) == pytest.approx(expected)


def test_interval_covers_at_its_level():
    rng = np.random.default_rng(1)
    found = [stats.over(rng.normal(size=3)) for _ in range(2000)]
    covered = np.mean([not interval.excludes_zero() for interval in found])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_a_single_value_has_no_interval():
    assert stats.over([1.5]) == Interval(1.5, None, 1, 1)
    assert not stats.over([1.5]).excludes_zero()
    assert stats.over([]) is None


def test_what_is_not_finite_is_left_out_and_counted():
    assert stats.over([1.0, math.nan, math.inf]) == Interval(1.0, None, 1, 3)
    assert stats.over([math.inf, math.nan]) == Interval(math.inf, None, 0, 2)


def test_a_level_out_of_range():
    with pytest.raises(ValueError, match=r"level=1.5"):
        stats.over([1.0, 2.0], level=1.5)


def test_paired_removes_what_units_share():
    plain = {0: 10.0, 1: 20.0, 2: 30.0, 7: 99.0}
    distilled = {0: 10.5, 1: 20.4, 2: 30.6, 8: 0.0}
    found = stats.paired(distilled, plain)
    half = pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert found == Interval(pytest.approx(0.5), half, 3, 3)
    assert found.excludes_zero()
    assert stats.paired(plain, distilled).mean == pytest.approx(-0.5)
    assert not stats.paired({0: 1.0, 1: 2.0}, {0: 1.1, 1: 1.9}).excludes_zero()


def test_nothing_is_paired_where_no_unit_is_finite_in_both():
    assert stats.paired({0: 1.0, 1: math.nan}, {1: 1.0, 2: 2.0}) is None


def test_values_of_a_unit_are_averaged():
    given = [("a", 1.0), ("b", math.nan), ("a", 3.0), ("a", math.nan)]
    found = stats.by_unit(given)
    assert found["a"] == 2.0
    assert math.isnan(found["b"])
