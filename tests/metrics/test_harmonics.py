"""Harmonics of a given pitch: closed forms of tones in noise, and refusals."""

import math

import numpy as np
import pytest

from fdnf.metrics import harmonics
from tests.metrics import voices

RATES = [8000, 22050]
PITCHES = [80.0, 123.4, 220.0, 400.0]


def of(x, f0, rate):
    """As of a recording that has this pitch everywhere."""
    frames = np.full(int(len(x) / rate / 0.005) + 1, f0)
    return harmonics.harmonicity(x, frames, rate)


def tone(f0, rate):
    made = voices.buzz(2.0, rate, f0)
    return made / np.std(made)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("f0", PITCHES)
def test_a_tone_in_noise(f0, rate):
    x, noise = tone(f0, rate), voices.hiss(2.0, rate)
    assert of(x, f0, rate) > 30
    assert of(noise, f0, rate) == pytest.approx(0, abs=0.25)
    for decibels in (-10, 0, 10, 20):
        share = 10 ** (decibels / 10)
        expected = 10 * math.log10(1 + 2 * share)
        found = of(math.sqrt(share) * x + noise, f0, rate)
        assert found == pytest.approx(expected, abs=0.6), decibels


def test_what_lies_between_the_multiples():
    # Odd multiples of half the pitch: the other end of the scale.
    t = np.arange(16_000) / 8000
    between = sum(np.sin(2 * np.pi * (k + 0.5) * 200 * t + k) for k in range(1, 15))
    assert of(between, 200.0, 8000) < -20
    assert of(between, 100.0, 8000) > 30


@pytest.mark.parametrize("rate", RATES)
def test_a_vowel_and_its_whisper(rate):
    f0 = 120.0
    vowel = voices.vowel(rate, voices.buzz(2.0, rate, f0))
    whisper = voices.vowel(rate, voices.hiss(2.0, rate))
    assert of(vowel, f0, rate) > 25
    # Resonances are loudest where they are, at a multiple or between.
    assert abs(of(whisper, f0, rate)) < 2
    assert of(whisper, f0, rate) < of(vowel + whisper, f0, rate) < 8


def test_loudness_and_what_lies_below_do_not_count():
    x, noise = tone(150.0, 8000), voices.hiss(2.0, 8000)
    both = x + noise
    expected = of(both, 150.0, 8000)
    assert of(1e-4 * both, 150.0, 8000) == pytest.approx(expected, abs=1e-6)
    assert of(both + 3, 150.0, 8000) == pytest.approx(expected, abs=1e-6)
    hum = 3 * np.sin(2 * np.pi * 10 * np.arange(len(x)) / 8000)
    assert of(noise + hum, 150.0, 8000) < 0.5


def test_only_voiced_frames_count():
    rate = 8000
    x = np.concatenate([tone(150.0, rate), voices.hiss(2.0, rate)])
    f0 = np.zeros(801)
    f0[10:380] = 150
    assert harmonics.harmonicity(x, f0, rate) > 30
    f0 = np.roll(f0, 405)
    assert abs(harmonics.harmonicity(x, f0, rate)) < 0.5


def test_silence_is_not_harmonic():
    assert of(np.zeros(8000), 150.0, 8000) == 0
    # Half of the frames have a correlation of 1: (1 + 1/2) / (1 - 1/2).
    x = 0.3 + tone(160.0, 8000)
    x[8000:] = 0.3
    assert of(x, 160.0, 8000) == pytest.approx(10 * math.log10(3), abs=0.3)


def test_refusals():
    x, f0 = np.ones(8000), np.full(201, 150.0)
    broken = x.copy()
    broken[[3, 4]] = np.inf
    with pytest.raises(ValueError, match="2 samples of 8000 are not finite"):
        harmonics.harmonicity(broken, f0, 8000)
    with pytest.raises(ValueError, match="0 frames of the recording voiced"):
        harmonics.harmonicity(x, 0 * f0, 8000)
    with pytest.raises(ValueError, match="201 frames of the recording voiced, none"):
        harmonics.harmonicity(x[:300], f0, 8000)
    for bad in (49.0, 4001.0, -100.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected 0, or 50 to 4000"):
            harmonics.harmonicity(x, np.full(201, bad), 8000)
