"""Summaries and units of log-likelihoods."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.metrics import likelihood
from tests import floats


def test_summary_by_hand():
    mean, standard_error = likelihood.summary(np.array([1.0, 2.0, 3.0, 6.0]))
    assert mean == 3.0
    # Squared deviations 4 + 1 + 0 + 9 over n - 1 = 3, then over n = 4.
    assert standard_error == pytest.approx(math.sqrt(14 / 3 / 4), rel=1e-12)


def test_summary_accumulates_in_float64():
    # A float32 sum of these loses the quarter.
    values = np.full(200_000, 16_384.25, np.float32)
    assert likelihood.summary(values) == (16_384.25, 0.0)


def test_summary_of_one_and_of_none():
    mean, standard_error = likelihood.summary(np.array([2.5]))
    assert mean == 2.5
    assert math.isnan(standard_error)
    with pytest.raises(ValueError, match="no example"):
        likelihood.summary(np.zeros(0))


def test_summary_shows_divergence():
    mean, standard_error = likelihood.summary(np.array([1.0, -np.inf]))
    assert mean == -math.inf
    assert math.isnan(standard_error)


def test_uniform_data_cost_the_bits_of_their_levels():
    assert likelihood.bits_per_dim(0.0, dim=3072) == 8.0
    assert likelihood.bits_per_dim(0.0, dim=64, quantization=32) == 5.0
    # Density 2 in each of ten dimensions saves a bit in each.
    halved = likelihood.bits_per_dim(10 * math.log(2), dim=10)
    assert halved == pytest.approx(7.0)


def test_bits_grow_as_the_likelihood_falls():
    bits = likelihood.bits_per_dim(jnp.array([-3.0, 0.0, 500.0]), dim=64)
    floats.assert_close(
        bits, [8 + 3 / 64 / math.log(2), 8, 8 - 500 / 64 / math.log(2)], rtol=1e-6
    )


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="dim=0"):
        likelihood.bits_per_dim(1.0, dim=0)


def test_rows_count_by_their_weights():
    values, weights = np.array([-3.0, 1.0, 4.0, 9.0]), np.array([2.0, 0, 1, 1])
    found = likelihood.summary(values, weights)
    again = likelihood.summary(values, 10.0 * weights)
    np.testing.assert_allclose(found, again, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.mean, (2 * -3 + 4 + 9) / 4, atol=1e-12)
    # Equal weights are none.
    equal = likelihood.summary(values, np.full(4, 0.3))
    np.testing.assert_allclose(equal, likelihood.summary(values), rtol=0, atol=1e-12)
    assert np.isnan(likelihood.summary(values, np.array([0.0, 0, 1, 0])).standard_error)
