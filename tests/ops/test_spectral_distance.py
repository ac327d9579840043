"""Spectral convergence and log magnitude against numpy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import spectral_distance
from fdnf.ops.spectral_distance import Resolution
from tests import floats

SMALL = Resolution(64, 15, 40)
RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.normal(size=(2, 300)), jnp.float32) for _ in range(2))


def magnitudes(x, resolution, floor):
    """By one discrete Fourier transform a frame, in float64."""
    n_fft, hop, length = resolution
    side = n_fft // 2
    x = np.pad(np.asarray(x, np.float64), [(0, 0), (side, side)], mode="reflect")
    before = (n_fft - length) // 2
    window = np.zeros(n_fft)
    window[before : before + length] = 0.5 - 0.5 * np.cos(
        2 * np.pi * np.arange(length) / length
    )
    starts = range(0, x.shape[1] - n_fft + 1, hop)
    k, t = np.arange(side + 1)[:, None], np.arange(n_fft)
    dft = np.exp(-2j * np.pi * k * t / n_fft)
    found = np.stack([(x[:, s : s + n_fft] * window) @ dft.T for s in starts], 1)
    return np.sqrt(np.maximum(np.abs(found) ** 2, floor))


@pytest.mark.parametrize("floor", [1e-7, 4.0])
def test_against_numpy(floor):
    found = spectral_distance.spectral_distances(X, Y, SMALL, floor)
    x, y = (magnitudes(s, SMALL, floor) for s in (X, Y))
    convergence = np.sqrt(np.sum((y - x) ** 2)) / np.sqrt(np.sum(y**2))
    log_magnitude = np.mean(np.abs(np.log(y) - np.log(x)))
    floats.assert_close(found, (convergence, log_magnitude), rtol=1e-4)


def test_a_louder_copy():
    # |X| = 2 |Y|: SC = 1 and MAG = log 2, whatever the sound.
    found = spectral_distance.spectral_distances(2 * Y, Y, SMALL)
    floats.assert_close(found, (1.0, np.log(2)), rtol=1e-4)


def test_phase_does_not_count_and_silence_is_one():
    same = spectral_distance.spectral_distances(-Y, Y, SMALL)
    np.testing.assert_allclose(same, (0, 0), atol=1e-6)
    silent, _ = spectral_distance.spectral_distances(0 * Y, Y, SMALL)
    assert float(silent) == pytest.approx(1.0, abs=1e-3)


def test_gradients_are_finite():
    @jax.jit
    def slopes(x, y):
        def total(x, y):
            return sum(spectral_distance.spectral_distances(x, y, SMALL))

        return jax.grad(total, argnums=(0, 1))(x, y)

    for x in (0 * X, Y):
        for y in (0 * Y, Y):
            assert all(np.all(np.isfinite(slope)) for slope in slopes(x, y))


def test_refusals():
    with pytest.raises(ValueError, match=r"\(2, 300\) and \(2, 299\)"):
        spectral_distance.spectral_distances(X, Y[:, :-1], SMALL)
    with pytest.raises(ValueError, match="expected at least 513"):
        spectral_distance.spectral_distances(X, Y, Resolution(1024, 120, 600))
