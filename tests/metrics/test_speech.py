"""Measures of speech: closed forms, order of distortions, and refusals."""

import dataclasses
import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from fdnf.losses import spectra as stft_loss
from fdnf.metrics import speech
from fdnf.ops import mel
from fdnf.ops.spectral_distance import Resolution
from tests import floats
from tests.metrics.voices import RATE, voice

SETTINGS = mel.Settings(RATE, 256, 64, 256, 20, 60.0, 4000.0)
SMALL = (Resolution(256, 60, 200), Resolution(128, 30, 100))


Y = jnp.asarray(np.stack([voice(0.5), voice(0.5, 1)]))
NOISE = jnp.asarray(np.random.default_rng(2).normal(size=Y.shape), jnp.float32)


@jax.jit
def spectral(x, y):
    """All measures of spectra, `[4, batch]`."""
    return jnp.stack(
        [
            *speech.stft_distance(x, y, SMALL),
            speech.mel_l1(x, y, SETTINGS),
            speech.mel_cepstral_distortion(x, y, SETTINGS),
        ]
    )


def narrow(x, y, rate):
    return speech.pesq(x, y, rate, band="narrow")


def needs(package):
    return pytest.importorskip(package, reason=f"{package} is not installed")


def test_stft_distance_is_the_loss_of_each_row():
    x = Y + 0.02 * NOISE
    found = spectral(x, Y)[:2].T
    rows = [
        stft_loss.multi_resolution_stft(x[i : i + 1], Y[i : i + 1], SMALL)
        for i in range(2)
    ]
    floats.assert_close(found, rows, rtol=1e-4)


def test_twice_as_loud():
    sc, log_magnitude, l1, distortion = spectral(2 * Y + 1e-3 * NOISE, Y + 5e-4 * NOISE)
    floats.assert_close(sc, 1, rtol=1e-3)
    floats.assert_close(log_magnitude, np.log(2), rtol=1e-2)
    floats.assert_close(l1, np.log(2), rtol=1e-2)
    # All of the difference is in c_0.
    np.testing.assert_allclose(distortion, 0, atol=0.05)


def test_mel_l1_by_definition():
    x = Y + 0.02 * NOISE
    a, b = (np.asarray(mel.log_mel(s, SETTINGS)) for s in (x, Y))
    found = speech.mel_l1(x, Y, SETTINGS)
    floats.assert_close(found, np.abs(a - b).mean((1, 2)), rtol=1e-5)


def test_distortion_against_scipy():
    x = Y + 0.02 * NOISE
    logs = [np.asarray(mel.log_mel(s, SETTINGS), np.float64) for s in (x, Y)]
    # scipy's DCT-II is 2 sum_n a_n cos(...); log|H| = sum c_k cos(k w) needs 2 / M.
    c, d = (scipy.fft.dct(log, axis=-1) / SETTINGS.mels for log in logs)
    squared = np.sum((c - d)[..., 1:6] ** 2, axis=-1)
    expected = np.mean(10 / np.log(10) * np.sqrt(2 * squared), axis=1)
    found = speech.mel_cepstral_distortion(x, Y, SETTINGS, 5)
    floats.assert_close(found, expected, rtol=1e-4)


def test_distortion_with_all_coefficients_is_a_difference_in_decibels():
    x = Y + 0.02 * NOISE
    a, b = (np.asarray(mel.log_mel(s, SETTINGS), np.float64) for s in (x, Y))
    gap = 20 / np.log(10) * (a - b)
    gap -= gap.mean(-1, keepdims=True)
    expected = np.sqrt(np.mean(gap**2, axis=-1)).mean(1)
    found = speech.mel_cepstral_distortion(x, Y, SETTINGS, SETTINGS.mels - 1)
    floats.assert_close(found, expected, rtol=1e-4)


def test_more_noise_is_worse():
    found = jnp.stack([spectral(Y + level * NOISE, Y) for level in (0.0, 0.01, 0.1)])
    assert np.all(found[0] == 0)
    assert np.all(np.diff(found, axis=0) > 0)


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_falls_with_noise(extended):
    needs("pystoi")
    y = voice(1.5)
    noise = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
    found = [
        speech.stoi(y + level * noise, y, RATE, extended=extended)
        for level in (0.0, 0.02, 0.3)
    ]
    assert found[0] == pytest.approx(1, abs=1e-4)
    assert found[0] > found[1] > found[2]
    with pytest.raises(ValueError, match="0.25 s of sound: expected 0.4 s"):
        speech.stoi(y[:2000], y[:2000], RATE)


@pytest.mark.parametrize(("rate", "band"), [(8000, "narrow"), (22050, "wide")])
def test_pesq_falls_with_noise(rate, band):
    needs("pesq")
    y = voice(1.5, rate=rate)
    noise = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
    found = [
        speech.pesq(y + level * noise, y, rate, band=band)
        for level in (0.0, 0.003, 0.05)
    ]
    assert found[0] > 4.4
    assert found[0] > found[1] > found[2]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_pesq_of_silence_is_refused():
    needs("pesq")
    with pytest.raises(ValueError, match="leave such clips out"):
        speech.pesq(np.zeros(8000), np.zeros(8000), 8000, band="narrow")


def test_resampling():
    t = np.arange(2205) / 22050
    found = speech.resampled(np.sin(2 * np.pi * 440 * t), 22050, 16000)
    assert found.shape == (1600,)
    expected = np.sin(2 * np.pi * 440 * np.arange(1600) / 16000)
    np.testing.assert_allclose(found[100:-100], expected[100:-100], atol=5e-3)
    np.testing.assert_array_equal(speech.resampled(t, 8000, 8000), t)


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_of_silence_and_of_what_is_no_number(extended):
    needs("pystoi")
    y = voice(1.0)
    broken = y.copy()
    broken[[7, 9]] = np.nan
    # Silence in place of speech is not understood; of silence there is nothing to.
    assert speech.stoi(0 * y, y, RATE, extended=extended) == 0.0
    with pytest.raises(ValueError, match="of silence: expected a recording"):
        speech.stoi(y, 0 * y, RATE, extended=extended)
    with pytest.raises(ValueError, match="2 samples of the sound and 0 of the rec"):
        speech.stoi(broken, y, RATE, extended=extended)
    with pytest.raises(ValueError, match="0 samples of the sound and 2 of the rec"):
        speech.stoi(y, broken, RATE, extended=extended)


@pytest.mark.parametrize("name", ["pystoi", "pesq"])
def test_absent_packages_are_named(name, monkeypatch):
    def absent(_):
        raise ModuleNotFoundError("gone")

    monkeypatch.setattr(importlib, "import_module", absent)
    y, measure = voice(0.5), {"pystoi": speech.stoi, "pesq": narrow}[name]
    with pytest.raises(ImportError, match=f"pip install {name}"):
        measure(y, y, RATE)


def test_refusals():
    with pytest.raises(ValueError, match="expected equal"):
        speech.mel_l1(Y, Y[:, :-1], SETTINGS)
    with pytest.raises(ValueError, match="20 coefficients of 20 mels"):
        speech.mel_cepstral_distortion(Y, Y, SETTINGS, 20)
    with pytest.raises(ValueError, match="take band='narrow'"):
        speech.pesq(Y[0], Y[0], RATE)
    with pytest.raises(ValueError, match="band 'full'"):
        speech.pesq(Y[0], Y[0], RATE, band="full")
    higher = dataclasses.replace(SETTINGS, high=8000.0)
    with pytest.raises(ValueError, match="at 8000 samples a second"):
        speech.mel_l1(Y, Y, higher)


@pytest.mark.parametrize("measure", [speech.stoi, speech.pesq])
def test_samples_that_are_whole_numbers_are_refused(measure, monkeypatch):
    # As an outsider calls it, whose types nobody checks; before the package is needed.
    monkeypatch.setattr(speech, "_pair", inspect.unwrap(speech._pair))
    monkeypatch.setattr(speech, "optional", lambda name: None)
    x = np.ones(RATE, np.int16)
    with pytest.raises(ValueError, match="expected floats.*x / 32768"):
        inspect.unwrap(measure)(x, x, 16_000)
