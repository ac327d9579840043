import numpy as np
import pytest
from scipy import signal

from fdnf.data import synthetic_speech
from fdnf.data.tabular import DataError


def test_shapes():
    data = synthetic_speech.synthetic_speech(rows=6, segment=64, rate=8_000)
    assert data.train.shape == (6, 128)
    assert data.val.shape == (2, 64)
    assert [len(clip) for clip in data.test] == [192, 256, 320]
    assert data.rate == 8_000


def test_whitening_leaves_noise_of_the_stated_entropy():
    rng = np.random.default_rng(0)
    w = synthetic_speech.resonance(rng)
    wave = synthetic_speech.clip(rng, w, 20_000).astype(float)
    noise = signal.lfilter(synthetic_speech.denominator(w), [1.0], wave)[2:]
    assert abs(noise.std() / synthetic_speech.DEVIATION - 1) < 0.02
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03
    nats = -np.mean(
        -0.5 * (noise / synthetic_speech.DEVIATION) ** 2
        - np.log(synthetic_speech.DEVIATION * np.sqrt(2 * np.pi))
    )
    assert abs(nats - synthetic_speech.entropy()) < 0.02
    # A model that knows the spread and no resonance codes no better than this.
    assert nats < 0.5 * np.log(2 * np.pi * np.e * wave.var()) - 0.5


def test_spectrum_peaks_at_the_resonance():
    rng = np.random.default_rng(1)
    for w in (0.4, 1.2):
        wave = synthetic_speech.clip(rng, w, 20_000).astype(float)
        frequency, power = signal.welch(wave, 2 * np.pi, nperseg=256)
        assert abs(frequency[power.argmax()] - w) < 0.08


def test_same_arguments_give_the_same_data():
    first, second = (synthetic_speech.synthetic_speech(rows=4) for _ in range(2))
    np.testing.assert_array_equal(first.train, second.train)
    assert (
        first.train != synthetic_speech.synthetic_speech(rows=4, seed=1).train
    ).any()


def test_arguments_that_do_not_fit():
    with pytest.raises(DataError, match="synthetic_speech: rows=0"):
        synthetic_speech.synthetic_speech(rows=0)
