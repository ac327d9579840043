"""Maxima of rows, which on a CPU are not those of XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import base
from fdnf.ops import fixed_point, rows
from tests import floats

# The backend's maximum keeps a NaN of a short row and drops that of a long one.
SHAPES = ((3,), (4, 4, 3), (4096,), (32, 32, 3), (64, 64, 3))


@pytest.mark.parametrize("event", SHAPES, ids=str)
def test_largest_of_each_row(event):
    x = np.random.default_rng(0).normal(size=(3, *event)).astype(np.float32)
    expected = np.abs(x).reshape(3, -1).max(axis=1)
    np.testing.assert_array_equal(rows.largest(jnp.asarray(x)), expected)
    for bad, told in ((np.nan, np.nan), (-np.inf, np.inf)):
        spoiled = x.copy().reshape(3, -1)
        spoiled[1, spoiled.shape[1] // 2] = bad
        found = jax.jit(rows.largest)(spoiled.reshape(x.shape))
        np.testing.assert_array_equal(found, [expected[0], told, expected[2]])


@pytest.mark.parametrize("event", SHAPES, ids=str)
def test_a_gap_to_nothing_is_none(event):
    x = jnp.zeros((2, *event))
    y = x.at[(1, *(0 for _ in event))].set(jnp.nan)
    gap = base.largest_gap((x, x), (x, y))
    np.testing.assert_array_equal(gap, [0, np.nan])


@pytest.mark.parametrize("size", [4, 4096])
def test_a_map_to_nothing_is_not_solved(size):
    # Twice x, and in the second row NaN from the first value on.
    def forward(x):
        lost = jnp.array([[1.0], [jnp.nan]])
        return 2 * x * lost, 2 * jnp.ones_like(x)

    y = jnp.ones((2, size))
    found = fixed_point.solve(forward, y, jnp.zeros_like(y), tolerance=1e-5, limit=9)
    floats.assert_close(found.x[0], 0.5)
    assert float(found.residual[0]) < 1e-5
    assert float(found.residual[1]) == np.inf
