"""Griffin-Lim: magnitudes of features, phases, and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from fdnf.metrics import griffin_lim, speech
from fdnf.ops import mel
from fdnf.ops.spectral_distance import Resolution
from tests.metrics.voices import RATE, voice

SETTINGS = mel.Settings(RATE, 256, 64, 200, 40, 60.0, 4000.0)
Y = jnp.asarray(voice(0.5))[None, : 64 * 60]
FEATURES = mel.log_mel(Y, SETTINGS)
SAME = (Resolution(256, 64, 200),)


@pytest.mark.parametrize("steps", [0, 50])
def test_magnitudes_have_the_features(steps):
    found = griffin_lim.magnitudes(FEATURES, SETTINGS, steps)[0]
    assert np.all(found >= 0)
    back = found @ mel.filterbank(SETTINGS).T
    wanted = np.exp(FEATURES[0])
    error = np.linalg.norm(back - wanted) / np.linalg.norm(wanted)
    assert error < (0.5 if steps == 0 else 0.01)


def test_magnitudes_are_nearly_the_best():
    found = griffin_lim.magnitudes(FEATURES, SETTINGS, 500)[0]
    filters = mel.filterbank(SETTINGS)
    for frame in (10, 30):
        wanted = np.exp(np.asarray(FEATURES[0, frame], np.float64))
        _, least = scipy.optimize.nnls(filters, wanted)
        error = np.linalg.norm(filters @ np.asarray(found[frame]) - wanted)
        assert error <= least + 2e-3 * np.linalg.norm(wanted)


def test_iterations_bring_the_spectrum_nearer():
    found = [
        griffin_lim.griffin_lim(
            FEATURES, jax.random.key(0), SETTINGS, time=Y.size, iterations=count
        )
        for count in (1, 48)
    ]
    gaps = [float(speech.mel_l1(x, Y, SETTINGS)[0]) for x in found]
    assert gaps[1] < min(0.3, gaps[0])
    convergence = [float(speech.stft_distance(x, Y, SAME)[0][0]) for x in found]
    assert convergence[1] < 0.8 * convergence[0]


def test_lengths_and_batches():
    batch = jnp.concatenate([FEATURES, FEATURES])
    found = griffin_lim.griffin_lim(batch, jax.random.key(1), SETTINGS, iterations=1)
    assert found.shape == (2, 64 * 60)
    assert np.all(np.isfinite(found))
    assert np.any(found[0] != found[1])


def test_silence_stays_silent():
    quiet = jnp.full((1, 9, 40), jnp.log(1e-5))
    found = griffin_lim.griffin_lim(quiet, jax.random.key(0), SETTINGS, iterations=4)
    assert np.abs(found).max() < 1e-3


def test_refusals():
    with pytest.raises(ValueError, match="features of 40 mels, settings of 80"):
        griffin_lim.griffin_lim(FEATURES, jax.random.key(0))
    with pytest.raises(ValueError, match="-1 iterations"):
        griffin_lim.griffin_lim(FEATURES, jax.random.key(0), SETTINGS, iterations=-1)
