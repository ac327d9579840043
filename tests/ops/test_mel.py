"""Mel features against librosa: stored values, and librosa itself if it is there."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import mel
from tests import floats
from tests.ops.golden import make_mel

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "mel.npz")
CASES = {
    name: mel.Settings(*values[:3], values[1], *values[3:])
    for name, values in make_mel.SETTINGS.items()
}
X = jnp.asarray(make_mel.sound())


@pytest.mark.parametrize("name", CASES)
def test_filters_equal_librosas(name):
    found = mel.filterbank(CASES[name])
    assert found.dtype == np.float64
    # librosa's are float32.
    np.testing.assert_allclose(found, GOLDEN[f"{name}_filters"], rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize(
    "settings", [*CASES.values(), mel.Settings(16000, 512, 160, 400, 23, 20.0, 7600.0)]
)
def test_filters_equal_the_installed_librosas(settings):
    filters = pytest.importorskip("librosa").filters.mel(
        sr=settings.rate,
        n_fft=settings.n_fft,
        n_mels=settings.mels,
        fmin=settings.low,
        fmax=settings.high,
    )
    np.testing.assert_allclose(mel.filterbank(settings), filters, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_log_mel_and_cepstra_equal_librosas(name):
    settings = CASES[name]
    found = mel.log_mel(X, settings)
    assert found.shape == (1 + X.size // settings.hop, settings.mels)
    expected = GOLDEN[f"{name}_log_mel"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    cepstra = mel.cepstrum(jnp.asarray(expected), 13)
    np.testing.assert_allclose(cepstra, GOLDEN[f"{name}_cepstrum"], atol=1e-4)


def test_default_is_the_published_recipe():
    expected = (22050, 1024, 256, 1024, 80, 0.0, 8000.0, 1e-5)
    assert dataclasses.astuple(mel.DEFAULT) == expected
    read = json.loads(json.dumps(dataclasses.asdict(mel.DEFAULT)))
    assert hash(mel.Settings(**read)) == hash(mel.DEFAULT)


def test_batches_and_jit():
    x = jnp.stack([X, X[::-1]])[:, None]
    found = jax.jit(lambda x: mel.log_mel(x, CASES["telephone"]))(x)
    np.testing.assert_allclose(
        found[1, 0], mel.log_mel(X[::-1], CASES["telephone"]), atol=1e-4
    )


def test_silence_is_the_floor_with_a_finite_gradient():
    settings = CASES["telephone"]
    silence = jnp.zeros(512)
    floats.assert_close(mel.log_mel(silence, settings), np.log(1e-5), rtol=1e-6)
    slope = jax.jit(jax.grad(lambda x: mel.log_mel(x, settings).sum()))(silence)
    assert np.all(slope == 0)


def test_a_tone_excites_the_filter_around_it():
    settings = CASES["telephone"]
    corners = mel.to_hertz(np.linspace(mel.to_mel(60.0), mel.to_mel(4000.0), 42))
    tone = jnp.sin(2 * np.pi * corners[21] / 8000 * jnp.arange(4000))
    found = mel.mel(tone, settings)[5:-5]
    assert np.all(found.argmax(-1) == 20)


def test_the_scale_and_its_inverse():
    hertz = np.array([0.0, 200.0, 1000.0, 6400.0])
    mels = np.array([0.0, 3.0, 15.0, 42.0])
    np.testing.assert_allclose(mel.to_mel(hertz), mels, atol=1e-12)
    np.testing.assert_allclose(mel.to_hertz(mels), hertz, atol=1e-9)


def test_cosines_are_orthonormal():
    np.testing.assert_allclose(mel.cosines(9) @ mel.cosines(9).T, np.eye(9), atol=1e-12)
    flat = mel.cepstrum(jnp.full((1, 16), 2.0), 16)
    np.testing.assert_allclose(flat, [[8.0, *[0.0] * 15]], atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"high": 12000.0}, "12000.0 Hz at 22050 .* <= 11025"),
        ({"low": 9000.0}, "from 9000.0 to 8000.0"),
        ({"mels": 0}, "0 mel filters"),
        ({"mels": 400}, "of 400 mel filters.*fewer mels"),
    ],
)
def test_refused_settings(changed, told):
    with pytest.raises(ValueError, match=told):
        mel.filterbank(dataclasses.replace(mel.DEFAULT, **changed))


def test_refused_cepstra():
    with pytest.raises(ValueError, match="17 coefficients of 16"):
        mel.cepstrum(jnp.zeros((1, 16)), 17)
