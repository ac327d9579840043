"""Voicing and pitch: errors by hand, vowels that speak and vowels that whisper."""

import importlib
import inspect
import math

import numpy as np
import pytest

from fdnf.metrics import pitch, speech
from tests import floats
from tests.metrics import voices

RATES = [8000, 22050]


def track(x, rate):
    pytest.importorskip("pyworld", reason="pyworld-prebuilt is not installed")
    return pitch.track(x, rate)


def spoken(rate, f0=120.0):
    return voices.vowel(rate, voices.buzz(1.0, rate, f0))


def whispered(rate):
    return voices.vowel(rate, voices.hiss(1.0, rate))


def test_errors_by_hand():
    recorded = np.array([0.0, 100, 100, 100, 200, 0, 200, 200, 0, 200])
    f0 = np.array([0.0, 100, 0, 100 * 2 ** (1 / 12), 400, 150, 0, 0, 0, 0])
    found = pitch.compare(f0, recorded)
    # Of seven voiced frames three are; those that are not, and one that is too much.
    floats.assert_close(found.voiced_share, 100 * 3 / 7)
    floats.assert_close(found.voicing_error, 50.0)
    floats.assert_close(found.gross_pitch_error, 100 / 3)
    # No error, a semitone, an octave.
    floats.assert_close(found.pitch_rmse, math.sqrt((100**2 + 1200**2) / 3))


def test_gross_is_beyond_a_fifth():
    recorded = np.array([100.0, 100, 100, 100])
    found = pitch.compare(np.array([119.0, 121.0, 81.0, 79.0]), recorded)
    assert found.gross_pitch_error == 50
    assert found.voicing_error == 0


def test_no_frame_voiced_in_both():
    found = pitch.compare(np.array([100.0, 0, 0]), np.array([0.0, 0, 100.0]))
    assert found.voiced_share == 0
    floats.assert_close(found.voicing_error, 100 * 2 / 3)
    assert math.isnan(found.gross_pitch_error)
    assert math.isnan(found.pitch_rmse)


@pytest.mark.parametrize("rate", RATES)
def test_a_vowel_is_voiced_and_its_whisper_is_not(rate):
    vowel = track(spoken(rate), rate)
    assert len(vowel) == 201
    assert np.mean(vowel > 0) > 0.95
    assert np.median(vowel[vowel > 0]) == pytest.approx(120, rel=1e-3)
    same = pitch.compare(vowel, vowel)
    assert same == (100, 0, 0, 0)
    whisper = pitch.compare(track(whispered(rate), rate), vowel)
    assert whisper.voiced_share < 15
    assert whisper.voicing_error > 80


@pytest.mark.parametrize("rate", RATES)
def test_another_pitch(rate):
    vowel = track(spoken(rate), rate)
    near = pitch.compare(track(spoken(rate, 126.0), rate), vowel)
    cents = 1200 * math.log2(126 / 120)
    assert near.pitch_rmse == pytest.approx(cents, abs=8)
    assert (near.gross_pitch_error, near.voicing_error) == pytest.approx((0, 0), abs=3)
    far = pitch.compare(track(spoken(rate, 160.0), rate), vowel)
    assert far.gross_pitch_error > 97


def test_silence_has_no_pitch_and_is_no_recording():
    vowel, silence = track(spoken(8000), 8000), track(np.zeros(8000), 8000)
    assert not silence.any()
    assert pitch.compare(silence, vowel).voiced_share == 0
    with pytest.raises(ValueError, match="no voiced frame among 201 of the recording"):
        pitch.compare(vowel, silence)


def test_refusals():
    x = spoken(8000)
    broken = x.copy()
    broken[7] = np.nan
    track(x, 8000)  # Or there is no package.
    with pytest.raises(ValueError, match="1 samples of 8000 are not finite"):
        pitch.track(broken, 8000)
    with pytest.raises(ValueError, match="of 0.037 s of sound: expected 0.04 s"):
        pitch.track(x[:300], 8000)
    with pytest.raises(ValueError, match="at least 4000"):
        pitch.track(x, 2000)
    f0 = np.array([100.0, 0.0])
    with pytest.raises(ValueError, match="2 and 1 frames: expected equal"):
        pitch.compare(f0, f0[:1])
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match="negative or not finite"):
            pitch.compare(np.array([bad, 0.0]), f0)


def test_samples_that_are_whole_numbers_are_refused(monkeypatch):
    # As an outsider calls it, whose types nobody checks.
    monkeypatch.setattr(speech, "samples", inspect.unwrap(speech.samples))
    monkeypatch.setattr(speech, "optional", lambda *names: None)
    with pytest.raises(ValueError, match="expected floats.*x / 32768"):
        inspect.unwrap(pitch.track)(np.ones(8000, np.int16), 8000)


def test_the_absent_package_is_named(monkeypatch):
    def absent(_):
        raise ModuleNotFoundError("gone")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match="pip install pyworld-prebuilt"):
        pitch.track(np.zeros(8000), 8000)
