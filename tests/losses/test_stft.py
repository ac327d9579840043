"""The multi-resolution STFT loss against auraloss and by its definition."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.losses import spectra
from tests import floats
from tests.losses.golden import make_stft

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "stft.npz")
X, Y = (jnp.asarray(sound) for sound in make_stft.sounds())
SMALL = (spectra.Resolution(64, 16, 48), spectra.Resolution(32, 8, 32))


def test_the_published_resolutions():
    assert spectra.RESOLUTIONS == make_stft.RESOLUTIONS
    assert spectra.FLOOR == make_stft.FLOOR


@pytest.mark.parametrize("resolution", spectra.RESOLUTIONS)
def test_one_resolution_equals_auraloss(resolution):
    found = spectra.multi_resolution_stft(X, Y, (resolution,))
    expected = [GOLDEN[f"{name}_{resolution.n_fft}"] for name in ("sc", "mag")]
    floats.assert_close(found, expected, rtol=2e-5)


def test_the_sum_equals_auraloss():
    found = spectra.multi_resolution_stft(X, Y)
    assert float(sum(found)) == pytest.approx(float(GOLDEN["multi_resolution"]), 2e-5)


def test_resolutions_are_averaged_and_channels_stand_for_themselves():
    parts = [spectra.multi_resolution_stft(X, Y, (r,)) for r in SMALL]
    found = spectra.multi_resolution_stft(X, Y, SMALL)
    floats.assert_close(found, np.mean(parts, axis=0), rtol=1e-5)
    channels = spectra.multi_resolution_stft(X[..., None], Y[..., None], SMALL)
    floats.assert_close(found, channels, rtol=1e-5)


def test_the_norm_is_over_the_whole_batch():
    loud = jnp.asarray([[100.0], [1.0]])
    both, _ = spectra.multi_resolution_stft(loud * X, loud * Y, SMALL)
    first, _ = spectra.multi_resolution_stft(X[:1], Y[:1], SMALL)
    assert float(both) == pytest.approx(float(first), rel=1e-2)


def test_gradient_at_silence_and_at_the_target():
    @jax.jit
    def slope(x, y):
        return jax.grad(lambda x: sum(spectra.multi_resolution_stft(x, y, SMALL)))(x)

    for x, y in ((0 * X, Y), (0 * X, 0 * Y), (Y, Y)):
        assert np.all(np.isfinite(slope(x, y)))
    # A step against it brings the sounds nearer.
    before = sum(spectra.multi_resolution_stft(X, Y, SMALL))
    after = sum(spectra.multi_resolution_stft(X - 0.05 * slope(X, Y), Y, SMALL))
    assert after < before


def test_refusals():
    with pytest.raises(ValueError, match="no resolutions"):
        spectra.multi_resolution_stft(X, Y, ())
    with pytest.raises(ValueError, match="expected equal"):
        spectra.multi_resolution_stft(X, Y[:1], SMALL)
    with pytest.raises(ValueError, match="1000 samples .* at least 1025"):
        spectra.multi_resolution_stft(X[:, :1000], Y[:, :1000])
