"""Interpolation against hand values, and what it keeps of a normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import interpolate
from tests import floats

RNG = np.random.default_rng(0)


def latents(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def norms(z):
    return np.linalg.norm(np.asarray(z, np.float64).reshape(len(z), -1), axis=1)


def test_by_hand():
    u, v = jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 1.0]])
    alpha = jnp.array([0.25])
    floats.assert_close(interpolate.linear(u, v, alpha), [[2.25, 0.25]])
    # |u| = 3 and |v| = 1 give 2.5; |(2.25, 0.25)| = sqrt(5.125).
    expected = np.array([[2.25, 0.25]]) * 2.5 / np.sqrt(5.125)
    found = interpolate.norm_corrected(u, v, alpha)
    floats.assert_close(found, expected, rtol=1e-6)


@pytest.mark.parametrize("path", [interpolate.linear, interpolate.norm_corrected])
def test_ends_are_the_two_latents(path):
    u, v = latents(5, 4, 4, 3), latents(5, 4, 4, 3)
    floats.assert_close(path(u, v, jnp.zeros(5)), u, rtol=1e-5)
    floats.assert_close(path(u, v, jnp.ones(5)), v, rtol=1e-5)


def test_norm_is_over_the_whole_row_and_interpolated():
    u, v = latents(6, 2, 2, 8), 3.0 * latents(6, 2, 2, 8)
    alpha = jnp.linspace(0.0, 1.0, 6)
    found = norms(interpolate.norm_corrected(u, v, alpha))
    floats.assert_close(found, (1 - alpha) * norms(u) + alpha * norms(v), 1e-5)
    straight = norms(interpolate.linear(u, v, alpha))
    assert (straight[1:-1] < found[1:-1]).all()


def test_swapping_the_ends_swaps_alpha():
    u, v, alpha = latents(4, 7), latents(4, 7), jnp.array([0.1, 0.4, 0.5, 0.9])
    np.testing.assert_allclose(
        interpolate.norm_corrected(u, v, alpha),
        interpolate.norm_corrected(v, u, 1.0 - alpha),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("u", "v"), [(0.0, 0.0), (1.0, -1.0), (1e30, 1e30), (0.0, 2.0)]
)
def test_finite_at_and_around_zero_and_when_exploded(u, v):
    def total(u, v, alpha):
        return interpolate.norm_corrected(u, v, alpha).sum()

    args = (jnp.full((2, 3), u), jnp.full((2, 3), v), jnp.array([0.5, 0.5]))
    value, slopes = jax.value_and_grad(total, argnums=(0, 1, 2))(*args)
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)
    floats.assert_close(value, 6 * (0.5 * u + 0.5 * v), rtol=1e-6)


def test_gradient_is_the_difference_quotient():
    with jax.enable_x64(True):
        u, v = (jnp.asarray(RNG.normal(size=(1, 4))) for _ in range(2))
        alpha = jnp.array([0.3], u.dtype)

        def first(t):
            return interpolate.norm_corrected(u + t, v, alpha)[0, 0]

        step = 1e-6
        quotient = (first(step) - first(-step)) / (2 * step)
        floats.assert_close(jax.grad(first)(0.0), quotient, rtol=1e-7)


def test_four_point_by_hand():
    corners = [jnp.full((1, 2), value) for value in (1.0, 10.0, 100.0, 1000.0)]
    phi, phi_prime = jnp.array([np.pi / 6]), jnp.array([np.pi / 3])
    # cos 30 = sin 60 = sqrt(3) / 2, sin 30 = cos 60 = 1 / 2.
    r = np.sqrt(3) / 2
    expected = r * (0.5 * 1 + r * 10) + 0.5 * (0.5 * 100 + r * 1000)
    found = interpolate.four_point(corners, phi, phi_prime)
    floats.assert_close(found, np.full((1, 2), expected), rtol=1e-6)


def test_four_point_passes_through_its_corners():
    corners = [latents(1, 2, 2, 3) for _ in range(4)]
    quarter = np.pi / 2
    angles = [(0, 0), (0, quarter), (quarter, 0), (quarter, quarter)]
    for corner, (phi, phi_prime) in zip(corners, angles, strict=True):
        found = interpolate.four_point(
            corners, jnp.array([float(phi)]), jnp.array([float(phi_prime)])
        )
        np.testing.assert_allclose(found, corner, atol=1e-6)


def test_four_point_of_normals_is_standard_normal():
    n = 200_000
    corners = [jnp.asarray(RNG.normal(size=(n, 2)), jnp.float32) for _ in range(4)]
    for phi, phi_prime in [(0.3, 1.1), (2.0, 4.5)]:
        angles = jnp.full(n, phi), jnp.full(n, phi_prime)
        z = np.asarray(interpolate.four_point(corners, *angles))
        np.testing.assert_allclose(z.mean(0), 0, atol=0.01)
        np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.015)
        np.testing.assert_allclose((z**4).mean(), 3, atol=0.1)


def test_four_point_wants_four():
    with pytest.raises(ValueError, match="3 corners"):
        interpolate.four_point([latents(1, 2)] * 3, jnp.zeros(1), jnp.zeros(1))
