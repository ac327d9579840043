"""Bounds of spectral norms: never below, close above, smooth, of any scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import convolutions
from fdnf.ops import spectral_norm as norms
from tests import floats


def kernel(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def largest(matrix):
    return np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)[0]


bound_of_matrix = jax.jit(norms.of_matrix)


@pytest.mark.parametrize("matrix", [kernel(6, 9), np.eye(6, 9), kernel(1, 9)[[0] * 6]])
def test_bound_of_a_matrix_of_any_scale(matrix):
    for scale in (1e-25, 1.0, 1e25):
        scaled = jnp.asarray(scale * matrix, jnp.float32)
        ratio = bound_of_matrix(scaled) / largest(scaled)
        assert 1 - 1e-6 < ratio < 6 ** (1 / 512) + 1e-6


def test_it_is_the_schatten_norm_and_so_is_its_gradient(x64):
    # Equal singular values, where the largest one itself has a kink.
    matrix = jnp.asarray(np.diag([2.0, 2.0, 1.0]))
    value, slope = jax.jit(jax.value_and_grad(norms.of_matrix))(matrix)
    floats.assert_close(value, 2 * 2 ** (1 / 512), rtol=1e-12)
    # Each of the two moves it alike, and it grows as the matrix does.
    expected = np.diag([1.0, 1.0, 0.0]) * value / 4
    floats.assert_close(slope, expected, rtol=1e-12)


def test_zeros_have_a_bound_and_a_gradient():
    value, slope = jax.jit(jax.value_and_grad(norms.of_matrix))(jnp.zeros((6, 9)))
    assert 0 < value < 1e-30
    np.testing.assert_array_equal(slope, 0)
    np.testing.assert_array_equal(norms.shrunk(jnp.zeros((6, 9)), value, 0.9), 0)


def operator(weights, height, width):
    """The matrix of the convolution, of zero-padded images of this size."""
    inputs = weights.shape[2]
    units = jnp.eye(height * width * inputs).reshape(-1, height, width, inputs)
    return convolutions.convolve(units, weights).reshape(len(units), -1)


@pytest.mark.parametrize(
    ("weights", "height", "width"),
    [
        (kernel(3, 3, 2, 5), 5, 4),
        (kernel(3, 3, 1, 1), 2, 3),
        (kernel(1, 1, 3, 2), 4, 4),
        (np.ones((3, 3, 1, 1), np.float32) / 9, 12, 12),
    ],
)
def test_bound_of_a_convolution_is_above_that_of_its_operator(weights, height, width):
    bound = norms.of_convolution(jnp.asarray(weights), height, width)
    norm = largest(operator(jnp.asarray(weights), height, width))
    assert norm * (1 - 1e-6) < bound
    if min(height, width) > 3:
        assert bound < 1.25 * norm
    # The largest symbol over the frequencies of a torus that it fits on.
    sides = [
        side + kernel_side // 2
        for side, kernel_side in zip((height, width), weights.shape[:2], strict=True)
    ]
    symbols = np.fft.fft2(weights, s=sides, axes=(0, 1))
    largest_symbol = np.linalg.svd(symbols, compute_uv=False).max()
    assert 1 - 1e-6 < bound / largest_symbol < (2 * symbols.size) ** (1 / 512)


def test_only_what_is_too_large_is_shrunk():
    small, large = (jnp.asarray(s * kernel(4, 4)) for s in (1e-3, 10.0))
    np.testing.assert_array_equal(
        norms.shrunk(small, bound_of_matrix(small), 0.8), small
    )
    shrunk = norms.shrunk(large, bound_of_matrix(large), 0.8)
    assert 0.79 < largest(shrunk) < 0.8 * (1 + 1e-6)
