"""Tails and spreads of columns against known probabilities."""

import inspect
import math

import numpy as np
import pytest
from scipy import special

from fdnf.metrics import columns
from tests import floats


def normal(shape, seed, scale=1.0):
    return scale * np.random.default_rng(seed).standard_normal(shape)


def test_the_tail_of_a_wider_normal_is_as_heavy_as_known():
    own, x = normal((100_000, 3), 0), normal((100_000, 3), 1)
    x[:, 1] *= 1.5
    found = columns.worst_tail(x, own, 0.001)
    threshold = -special.ndtri(0.001)
    expected = special.ndtr(-threshold / 1.5) / 0.001
    assert abs(math.log(found.factor / expected)) < 4 * found.log_error
    assert (found.column, found.often) == (1, True)
    # The other way round it is the same factor, the column too seldom there.
    back = columns.worst_tail(own, x, 0.001)
    expected = 0.001 / special.ndtr(-1.5 * threshold)
    assert back.factor > 20
    assert (back.column, back.often) == (1, False)
    # A shift is in one tail.
    moved = normal((100_000, 3), 2)
    moved[:, 2] -= 0.5
    found = columns.worst_tail(moved, own, 0.001)
    assert found.column == 2


def test_one_distribution_has_tails_near_1():
    factors = [
        columns.worst_tail(normal((10_000, 20), 2 * k), normal((10_000, 20), 2 * k + 1))
        for k in range(5)
    ]
    # 25 rows beyond, on either side: of 40 tails the worst is about 2.5 errors off.
    assert all(1 <= tail.factor < math.exp(4.5 * 0.3) for tail in factors)
    assert columns.tail_level(10_000) == 0.0025
    assert columns.tail_level(10**6) == 1e-4


def test_counts_by_hand():
    own = np.arange(100.0)[:, None]
    # Beyond are 0 and 1, and 98 and 99.
    x = np.r_[np.full(90, 50.0), np.full(8, 99.0), np.nan, -np.inf][:, None]
    found = columns.worst_tail(x, own, 0.02)
    # 8 above, and what is no number.
    assert found.factor == pytest.approx(9.5 / 2.5)
    assert found.log_error == pytest.approx(math.sqrt(1 / 9.5 + 1 / 2.5))
    assert found[2:] == (0, True, True)
    # Values that many rows have are not beyond themselves.
    same = np.zeros((50, 1))
    assert columns.worst_tail(same, same).factor == 1.0


def test_infinite_values_of_the_reference_are_its_tail():
    own = np.r_[np.full(30, -np.inf), np.arange(970.0)][:, None]
    assert columns.worst_tail(own, own, 0.03).factor == pytest.approx(1.0)
    assert columns.worst_tail(own[30:], own, 0.03).often is False


@pytest.mark.parametrize("scale", [0.5, 0.01, 2.0])
def test_spreads_given_conditions(scale):
    means = normal((16, 1, 4), 0, 5.0)
    own = means + normal((16, 400, 4), 1, 0.3)
    found = columns.spread_ratio(means + normal((16, 300, 4), 2, 0.3 * scale), own)
    floats.assert_close(found.median, scale, rtol=0.05)
    floats.assert_close(found.worst_condition, scale, rtol=0.15)
    floats.assert_close(found.worst_column, scale, rtol=0.15)
    assert found.conditions == 16


def test_the_worst_condition_and_column_are_found():
    own, x = normal((9, 200, 5), 0), normal((9, 200, 5), 1)
    x[4] *= 0.25
    found = columns.spread_ratio(x, own)
    assert found.worst_condition == pytest.approx(0.25, rel=0.15)
    assert found.median == pytest.approx(1.0, abs=0.1)
    assert found.worst_column == pytest.approx(1.0, abs=0.2)
    x = normal((9, 200, 5), 1)
    x[:, :, 2] *= 3
    found = columns.spread_ratio(x, own)
    assert (found.column, found.conditions) == (2, 9)
    assert found.worst_column == pytest.approx(3.0, rel=0.15)
    assert found.worst_condition == pytest.approx(1.0, abs=0.3)


def test_a_collapsed_sampler_has_no_spread_though_its_marginals_are_right():
    means = normal((40, 1, 3), 0)
    collapsed = np.repeat(means + normal((40, 1, 3), 1, 0.5), 50, axis=1)
    found = columns.spread_ratio(collapsed, means + normal((40, 50, 3), 2, 0.5))
    assert found.median == found.worst_condition == found.worst_column == 0.0


def test_columns_without_a_spread_and_rows_that_are_not_finite():
    own, x = normal((3, 100, 2), 0), normal((3, 100, 2), 1)
    own[:, :, 1] = x[:, :, 1] = 7.0
    x[0, :10], x[1, :, 0] = np.nan, np.inf
    found = columns.spread_ratio(x, own)
    assert found.median == pytest.approx(1.0, abs=0.3)
    assert (found.column, found.conditions) == (0, 3)
    wide = x.copy()
    wide[:, :, 1] = normal((3, 100), 2)
    assert columns.spread_ratio(wide, own).worst_column == math.inf
    assert columns.spread_ratio(own * 0, own * 0) is None


def test_errors_say_what_is_wrong():
    worst, spread = map(inspect.unwrap, (columns.worst_tail, columns.spread_ratio))
    with pytest.raises(ValueError, match="3 and 2 columns"):
        worst(np.zeros((5, 3)), np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"\(5,\) and \(5, 2\)"):
        worst(np.zeros(5), np.zeros((5, 2)))
    with pytest.raises(ValueError, match="the reference has values"):
        worst(np.zeros((5, 1)), np.full((5, 1), np.nan))
    with pytest.raises(ValueError, match="level=0.7"):
        worst(np.zeros((5, 1)), np.zeros((5, 1)), 0.7)
    with pytest.raises(ValueError, match="the same conditions and features"):
        spread(np.zeros((2, 5, 3)), np.zeros((3, 5, 3)))
    with pytest.raises(ValueError, match="1 and 5 draws"):
        spread(np.zeros((2, 1, 3)), np.zeros((2, 5, 3)))
