"""Dequantisation: log-determinants, round trips, units, edges."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from fdnf.metrics import likelihood
from fdnf.ops import dequantize
from tests import floats

EVENT = (2, 1, 3)
DIM = 6
# (levels, margin): 8 bits, 5 bits, digits; the margins of colour and of grey images.
LOGITS = [(256, 0.05), (256, 1e-6), (32, 0.05), (17, 1e-6)]
over_logits = pytest.mark.parametrize(("levels", "margin"), LOGITS)


def real(levels, batch=4, seed=0):
    """Values in [0, levels), away from its ends by a thousandth."""
    u = np.random.default_rng(seed).uniform(1e-3, 1 - 1e-3, (batch, *EVENT))
    return jnp.asarray(levels * u, jnp.float32)


def log_det_of(function, x):
    """log |det| of the Jacobian of each row, in float64."""

    def one(row):
        return function(row.reshape(1, *EVENT)).reshape(-1)

    with jax.enable_x64(True):
        rows = jnp.asarray(x, jnp.float64).reshape(-1, DIM)
        return jax.vmap(lambda r: jnp.linalg.slogdet(jax.jacfwd(one)(r))[1])(rows)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_centre(levels):
    x = real(levels)
    y, log_det = dequantize.centre(x, levels)
    assert np.all((y >= -0.5) & (y < 0.5))
    expected = log_det_of(lambda x: dequantize.centre(x, levels)[0], x)
    floats.assert_close(log_det, expected, rtol=1e-6)
    np.testing.assert_allclose(dequantize.uncentre(y, levels), x, atol=1e-6 * levels)


@over_logits
def test_logit(levels, margin):
    x = real(levels)
    y, log_det = dequantize.logit(x, levels, margin)
    p = margin + (1 - 2 * margin) * np.asarray(x, np.float64) / levels
    np.testing.assert_allclose(y, scipy.special.logit(p), rtol=1e-4, atol=1e-4)
    expected = log_det_of(lambda x: dequantize.logit(x, levels, margin)[0], x)
    floats.assert_close(log_det, expected, rtol=1e-4)
    again = dequantize.unlogit(y, levels, margin)
    np.testing.assert_allclose(again, x, atol=1e-5 * levels)


@over_logits
def test_logit_is_finite_at_both_ends(levels, margin):
    x = jnp.asarray([[0.0], [levels]])
    y, log_det = dequantize.logit(x, levels, margin)
    assert np.all(np.isfinite(y))
    assert np.all(np.isfinite(log_det))
    end = np.log((1 - margin) / margin)
    floats.assert_close(y[:, 0], [-end, end], rtol=0.01)


@pytest.mark.parametrize("levels", [17, 256])
def test_levels_survive_noise_and_both_maps(levels):
    x = jnp.arange(levels, dtype=jnp.uint8)[:, None]
    noisy = dequantize.uniform(jax.random.key(0), x)
    assert noisy.dtype == jnp.float32
    y, _ = dequantize.centre(noisy, levels)
    back = dequantize.to_levels(dequantize.uncentre(y, levels), levels)
    np.testing.assert_array_equal(back, x)
    y, _ = dequantize.logit(noisy, levels, 0.05)
    back = dequantize.to_levels(dequantize.unlogit(y, levels, 0.05), levels)
    np.testing.assert_array_equal(back, x)


def test_noise_is_uniform_on_the_unit_interval():
    x = jnp.full((200, 10), 7, jnp.uint8)
    noise = np.asarray(dequantize.uniform(jax.random.key(1), x)) - 7.0
    assert noise.min() >= 0.0
    assert noise.max() < 1.0
    assert scipy.stats.kstest(noise.ravel(), "uniform").pvalue > 0.01
    other = dequantize.uniform(jax.random.key(2), x)
    assert np.all(np.mean(other == noise + 7.0) < 0.01)


def test_to_levels_at_the_edges():
    x = jnp.asarray([[-1e9, -0.1, 0.0, 0.999, 1.0, 15.5, 16.0, 16.99, 17.0, 1e9]])
    found = dequantize.to_levels(x, 17)
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 1, 15, 16, 16, 16, 16]])
    np.testing.assert_array_equal(
        dequantize.to_levels(jnp.asarray([[255.9, 256.0, 300.0]]), 256), [[255] * 3]
    )


@pytest.mark.parametrize("bits", range(1, 9))
def test_reduce_bits_keeps_the_highest(bits):
    x = jnp.arange(256, dtype=jnp.uint8)[None]
    found = np.asarray(dequantize.reduce_bits(x, bits))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], np.arange(256) >> (8 - bits))
    values, counts = np.unique(found, return_counts=True)
    assert list(values) == list(range(2**bits))
    assert set(counts) == {2 ** (8 - bits)}


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(ValueError, match=f"bits={bits}: expected 1 to 8"):
        dequantize.reduce_bits(jnp.zeros((1, 1), jnp.uint8), bits)


@pytest.mark.parametrize("levels", [2, 17, 32, 256])
def test_uniform_data_cost_log2_of_the_levels(levels):
    # The density 1 on [-1/2, 1/2), and the same data through the logit.
    x = real(levels)
    _, log_det = dequantize.centre(x, levels)
    bits = likelihood.bits_per_dim(log_det, DIM, 1)
    floats.assert_close(bits, np.log2(levels), rtol=1e-5)

    margin = 0.05
    y, log_det = dequantize.logit(x, levels, margin)
    flat = np.asarray(y, np.float64).reshape(len(x), DIM)
    density = scipy.stats.logistic.logpdf(flat) - np.log(1 - 2 * margin)
    bits = likelihood.bits_per_dim(density.sum(axis=1) + log_det, DIM, 1)
    floats.assert_close(bits, np.log2(levels), rtol=1e-4)


def test_noise_bounds_the_discrete_likelihood_from_below():
    # A logistic density over levels, whose mass on each is a difference of its cdf.
    density = scipy.stats.logistic(loc=3.2, scale=0.4)
    x = jnp.repeat(jnp.arange(8, dtype=jnp.uint8)[:, None], 20_000, axis=1)
    noisy = np.asarray(dequantize.uniform(jax.random.key(0), x), np.float64)
    log_prob = density.logpdf(noisy)
    exact = np.log(density.cdf(np.arange(1, 9)) - density.cdf(np.arange(8)))
    lower = log_prob.mean(axis=1)
    importance = np.log(np.exp(log_prob).mean(axis=1))
    assert np.all(lower < exact - 0.01)
    np.testing.assert_allclose(importance, exact, atol=0.02)


def test_images_that_are_no_grey_levels_are_refused():
    # As an outsider calls it, whose types nobody checks.
    x = jnp.full((1, 2, 2, 1), 0.5)
    with pytest.raises(ValueError, match="float32: expected grey levels"):
        inspect.unwrap(dequantize.uniform)(jax.random.key(0), x)
    with pytest.raises(ValueError, match="float32: expected grey levels"):
        inspect.unwrap(dequantize.reduce_bits)(x, 5)
