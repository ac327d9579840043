"""What a first batch says of spread, and what stands in where it says nothing."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import statistics
from tests import floats

ROWS = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)


def test_columns_that_vary_keep_their_plain_deviation_to_the_bit():
    x = jnp.asarray(ROWS * np.float32([1e-4, 1, 30, 1e5]) + np.float32([0, 9, -9, 1e6]))
    assert not statistics.constant(x, 0).any()
    np.testing.assert_array_equal(statistics.spread(x, 0), jnp.std(x, axis=0))


@pytest.mark.parametrize("value", [0.0, 0.1, -3e7, 1e-20])
def test_a_constant_column_has_the_geometric_mean_of_the_others(value):
    x = jnp.asarray(ROWS * np.float32([0.1, 1, 1000, 1])).at[:, 1].set(value)
    others = np.asarray(jnp.std(x, axis=0), np.float64)[[0, 2, 3]]
    np.testing.assert_array_equal(
        statistics.constant(x, 0), [False, True, False, False]
    )
    found = np.asarray(statistics.spread(x, 0))
    floats.assert_close(found[1], np.exp(np.log(others).mean()), rtol=1e-5)
    floats.assert_close(found[[0, 2, 3]], others, rtol=1e-6)


def test_many_equal_numbers_are_constant_though_their_mean_is_not_one_of_them():
    # In float32 their sum has an error of its own: the deviation is not small.
    x = jnp.full((1 << 20, 1), 0.1, jnp.float32)
    assert statistics.constant(x, 0).all()
    np.testing.assert_array_equal(statistics.spread(x, 0), [1.0])


@pytest.mark.parametrize("x", [ROWS[:1], np.tile(ROWS[:1], (50, 1)), 0 * ROWS])
def test_where_nothing_varies_spreads_are_1(x):
    np.testing.assert_array_equal(statistics.spread(jnp.asarray(x), 0), np.ones(4))


def test_what_is_constant_is_said_by_name():
    x = np.array(ROWS)
    assert statistics.constant_part(x) is None
    assert statistics.constant_part(x[:0]) is None
    x[:, 2] = 0.5
    said = statistics.constant_part(x)
    assert said is not None
    assert "column 2 (0.5)" in said
    assert "200 rows" in said
    assert "has one row" in str(statistics.constant_part(x[:1]))
    assert "50 rows that are all equal" in str(
        statistics.constant_part(np.tile(x[:1], (50, 1)))
    )
    images = np.random.default_rng(1).normal(size=(3, 4, 4, 2))
    images[..., 1] = 7
    assert "channel 1 (7)" in str(statistics.constant_part(images))


def test_a_far_row_hardly_moves_a_robust_spread():
    x = ROWS * np.float32([1e-4, 1, 30, 1e3]) + np.float32([0, 5, -9, 1e4])
    kept = np.ones(len(x), bool)
    usual = statistics.robust_spread(jnp.asarray(x), jnp.asarray(kept))
    np.testing.assert_allclose(usual, x.std(axis=0), rtol=1e-3, atol=1e-6)
    far = x.copy()
    far[3] += 1e4 * x.std(axis=0)
    found = statistics.robust_spread(jnp.asarray(far), jnp.asarray(kept))
    # The plain one is 700 times as large.
    assert np.all((found > usual) & (found < 2.5 * usual))
    # Rows that do not count do not, whatever they are.
    kept[3], far[3] = False, np.inf
    without = statistics.robust_spread(jnp.asarray(far), jnp.asarray(kept))
    np.testing.assert_allclose(without, x[kept].std(axis=0), rtol=1e-3, atol=1e-6)
    for still in (0.0, 7.5, 1e-20):
        column = jnp.full((8, 1), still, jnp.float32)
        assert statistics.robust_spread(column, jnp.ones(8, bool)) == 0
    # Rare values are no far rows.
    rare = jnp.asarray(np.arange(200) % 20 == 0, jnp.float32)[:, None]
    found = statistics.robust_spread(rare, jnp.ones(200, bool))
    np.testing.assert_allclose(found, np.std(rare), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("bound", [0.5, 3.0, None])
def test_far_errors_cost_as_their_logarithm(bound):
    error = jnp.asarray([-7.0, -0.2, 0.0, 0.3, 2.0, 1e30])
    found = statistics.robust(error[:-1], bound)
    size, edge = np.abs(error[:-1]), np.inf if bound is None else bound
    far = (
        0.0
        if bound is None
        else bound**2 * (0.5 + np.log(np.maximum(size, bound) / bound))
    )
    wanted = np.where(size < edge, size**2 / 2, far)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    if bound is not None:
        assert np.isfinite(statistics.robust(error, bound)).all()
