"""Bounded scales: bounds, slopes, inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import conditioners
from tests import floats

RAW = jnp.linspace(-12.0, 12.0, 201)


@pytest.mark.parametrize("bound", [0.5, 5.0])
def test_soft_clamp_is_bounded_and_rises(bound):
    clamped = conditioners.soft_clamp(RAW, bound)
    assert np.all(np.abs(clamped) <= bound)
    assert np.all(
        np.diff(conditioners.soft_clamp(jnp.linspace(-2, 2, 101) * bound)) > 0
    )
    assert jax.grad(conditioners.soft_clamp)(0.0) == pytest.approx(1.0)
    assert conditioners.soft_clamp(jnp.asarray(1e30)) == pytest.approx(5.0)


def test_inverse_soft_clamp_undoes_it():
    inside = jnp.linspace(-4.9, 4.9, 50)
    again = conditioners.soft_clamp(conditioners.inverse_soft_clamp(inside))
    np.testing.assert_allclose(again, inside, atol=1e-5)


def test_inverse_soft_clamp_cuts_what_is_out_of_reach():
    raw = conditioners.inverse_soft_clamp(jnp.asarray([-1e9, 7.0]))
    assert np.all(np.isfinite(raw))
    floats.assert_close(conditioners.soft_clamp(raw), [-4.95, 4.95], rtol=1e-5)


@pytest.mark.parametrize("floor", [1e-3, 0.1])
def test_sigmoid_scale_stays_between_floor_and_one(floor):
    scale = np.exp(conditioners.sigmoid_log_scale(jnp.linspace(-50, 50, 101), floor))
    assert np.all(scale >= floor * 0.999)
    assert np.all(scale <= 1.0 + 1e-6)
    assert np.all(np.diff(np.exp(conditioners.sigmoid_log_scale(RAW, floor))) >= 0)


def test_sigmoid_scale_starts_near_one():
    at_zero = float(conditioners.sigmoid_log_scale(jnp.asarray(0.0)))
    expected = 1e-3 + 0.999 / (1 + np.exp(-2.0))
    assert np.exp(at_zero) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "function", [conditioners.soft_clamp, conditioners.sigmoid_log_scale]
)
def test_slopes_are_finite_far_out(function):
    slopes = jax.vmap(jax.grad(function))(jnp.asarray([-1e4, -50.0, 0.0, 50.0, 1e4]))
    assert np.all(np.isfinite(slopes))
    assert np.all(slopes >= 0)
