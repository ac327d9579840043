"""Student-t intervals against scipy and hand values."""

import math

import numpy as np
import pytest
from scipy import stats

from fdnf.evaluation.tables import intervals


def test_three_seeds_by_hand():
    interval = intervals.over_seeds([1.0, 2.0, 3.0])
    # s = 1, t_2(0.975) = 4.302653.
    assert interval.mean == 2.0
    assert interval.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert interval.n == 3


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_interval_is_scipys(level):
    values = np.random.default_rng(0).normal(3, 2, size=7)
    mean, half_width, _ = intervals.over_seeds(values, level)
    low, high = stats.t.interval(level, 6, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half_width, mean + half_width) == pytest.approx((low, high))


def test_interval_covers_at_its_level():
    rng = np.random.default_rng(1)
    found = [intervals.over_seeds(rng.normal(size=3)) for _ in range(2000)]
    covered = np.mean([not interval.excludes_zero() for interval in found])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_one_seed_has_no_interval():
    interval = intervals.over_seeds([1.5])
    assert interval == (1.5, None, 1)
    assert not interval.excludes_zero()
    assert intervals.render(interval) == "1.500 (n=1)"


def test_paired_removes_what_seeds_share():
    plain = {0: 10.0, 1: 20.0, 2: 30.0, 7: 99.0}
    distilled = {0: 10.5, 1: 20.4, 2: 30.6, 8: 0.0}
    interval = intervals.paired(distilled, plain)
    assert interval.n == 3
    assert interval.mean == pytest.approx(0.5)
    assert interval.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert interval.excludes_zero()
    assert intervals.paired(plain, distilled).mean == pytest.approx(-0.5)


def test_paired_by_chance_contains_zero():
    interval = intervals.paired({0: 1.0, 1: 2.0}, {0: 1.1, 1: 1.9})
    assert not interval.excludes_zero()


def test_render():
    assert intervals.render(intervals.Interval(1.23456, 0.05678, 3)) == "1.235 ± 0.057"
    signed = intervals.render(intervals.Interval(0.5, 0.25, 3), digits=1, signed=True)
    assert signed == "+0.5 ± 0.2"


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_must_be_finite(values):
    with pytest.raises(ValueError, match="at least one, all finite"):
        intervals.over_seeds(values)


def test_other_errors():
    with pytest.raises(ValueError, match="none in common"):
        intervals.paired({0: 1.0}, {1: 1.0})
    with pytest.raises(ValueError, match="level=1.5"):
        intervals.over_seeds([1.0, 2.0], level=1.5)
