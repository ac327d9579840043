"""Activation norm: statistics at init, and only there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors import transformers
from fdnf.bijectors.actnorm import ActNorm, Elementwise, Scaling
from tests import floats

RAW = np.random.default_rng(0).normal(size=(64, 4, 4, 3)).astype(np.float32)
IMAGES = jnp.asarray(RAW * np.asarray([0.1, 1.0, 30.0]) + np.asarray([5.0, 0.0, -2.0]))
start = jax.jit(ActNorm().init_with_output)


@pytest.mark.parametrize("x", [IMAGES, IMAGES[:, 0, 0]], ids=["images", "vectors"])
def test_first_batch_leaves_normalised(x):
    (y, log_det), variables = start(jax.random.key(0), x)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(np.mean(y, axis=axes), np.zeros(3), atol=1e-4)
    floats.assert_close(np.std(y, axis=axes), np.ones(3), rtol=1e-3)
    positions = np.prod(x.shape[1:-1])
    expected = -positions * np.sum(np.log(np.std(x, axis=axes)))
    floats.assert_close(log_det, np.full(64, expected), rtol=1e-3)
    assert {leaf.shape for leaf in jax.tree.leaves(variables)} == {(3,)}


def test_parameters_that_exist_stay():
    x = IMAGES[:, 0, 0]
    _, variables = start(jax.random.key(0), x)
    y, _ = jax.jit(ActNorm().apply)(variables, 10.0 * x)
    assert np.std(y[:, 1]) == pytest.approx(10.0, rel=1e-2)


def test_init_by_inverse_is_the_identity():
    x = IMAGES[:, 0, 0]
    (y, log_det), _ = ActNorm().init_with_output(jax.random.key(0), x, method="inverse")
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(log_det, np.zeros(64))


def test_constant_channel_stays_finite():
    x = jnp.ones((8, 2)) * jnp.asarray([3.0, 4.0])
    (y, log_det), variables = start(jax.random.key(0), x)
    assert np.all(np.isfinite(y))
    assert np.all(np.isfinite(log_det))
    back, _ = ActNorm().apply(variables, y, method="inverse")
    floats.assert_close(back, x, rtol=1e-5)


def test_scaling_starts_as_the_identity():
    x = IMAGES[:2]
    (y, log_det), variables = Scaling().init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(log_det, np.zeros(2))
    assert variables["params"]["raw_log_scale"].shape == (4, 4, 3)


def test_a_map_of_each_channel_starts_standard_or_as_the_identity():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 2, 3)) * 4 + 5)
    affine = Elementwise(transformers.Affine())
    (y, _), _ = jax.jit(affine.init_with_output)(jax.random.key(0), x)
    np.testing.assert_allclose(np.mean(y, axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(np.std(y, axis=(0, 1)), 1, atol=1e-3)
    for module, method in (
        (affine, "inverse"),
        (Elementwise(transformers.make("spline")), "forward"),
    ):
        first = jax.jit(functools.partial(module.init_with_output, method=method))
        (y, log_det), _ = first(jax.random.key(0), x)
        np.testing.assert_allclose(y, x, atol=1e-5)
        np.testing.assert_allclose(log_det, 0, atol=1e-5)
