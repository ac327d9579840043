"""Scores by what must hold of any: truth, copies, noise and the order between them."""

import math

import numpy as np
import pytest

from fdnf.data.speech import Clips
from fdnf.evaluation.scorers import clips, speech
from fdnf.evaluation.scorers.clips import Judged
from fdnf.metrics import speech as measures
from fdnf.ops import mel
from fdnf.train.settings import ConfigError
from tests import floats
from tests.evaluation import speech_models
from tests.metrics import voices

SETTINGS = mel.Settings(rate=8000, n_fft=256, window=256, hop=64, mels=8, high=4000.0)


@pytest.fixture(scope="module")
def judged():
    return Judged(
        ("a", "b"), (speech_models.tone(), speech_models.tone()[::-1]), (), 8000
    )


@pytest.fixture(scope="module")
def found(judged):
    truth = list(judged.clips)
    noisy = [clips.with_noise(clip, i) for i, clip in enumerate(truth)]
    noise = [clips.white_noise(clip, i) for i, clip in enumerate(truth)]
    return [
        by_metric(speech.score([clips.as_sound(s) for s in sounds], judged, SETTINGS))
        for sounds in (truth, noisy, noise)
    ]


def by_metric(scores):
    """Metric to one value a clip, in their order; faults left out."""
    found = {}
    for score in scores:
        if score.item:
            found.setdefault(score.metric, []).append(score.value)
    return {metric: tuple(values) for metric, values in found.items()}


def test_truth_has_no_distance(found):
    for name in speech.SPECTRAL:
        assert found[0][name] == (0.0, 0.0)


def test_noise_is_far(found):
    _, noisy, noise = found
    assert min(noisy["mel_l1"]) > 0.5
    assert 0.3 < max(noisy["sc"]) < min(noise["sc"])


def test_what_is_not_finite_has_no_score(judged):
    sounds = [clips.as_sound(clip) for clip in judged.clips]
    sounds[1] = sounds[1]._replace(peak=math.nan)
    scores = by_metric(speech.score(sounds, judged, SETTINGS))
    assert scores["mel_l1"][0] == 0
    assert all(math.isnan(values[1]) for values in scores.values())


def test_faults_are_counted(judged):
    sounds = [clips.as_sound(clip) for clip in judged.clips]
    sounds[0] = sounds[0]._replace(beyond=40)
    sounds[1] = sounds[1]._replace(peak=math.nan)
    found = {s.metric: s.value for s in speech.score(sounds, judged, SETTINGS)}
    # Of twice 2000 samples.
    assert (found["broken_clips"], found["clipped_percent"]) == (1.0, 1.0)


def test_other_packages(judged, monkeypatch):
    """Absent they are named; where a metric is not defined it is no number."""
    sounds = [clips.as_sound(clip) for clip in judged.clips]
    monkeypatch.setattr(speech.importlib.util, "find_spec", lambda name: None)
    assert set(speech.unmeasured()) == {"stoi", "estoi", "pesq", *speech.VOICE}
    (told,) = (note for note in speech._notes(judged) if "pystoi" in note)
    assert told == "Not measured: estoi, stoi (package pystoi is not installed)."
    scores = by_metric(speech.score(sounds, judged, SETTINGS))
    assert set(scores) == set(speech.SPECTRAL)
    monkeypatch.setattr(speech.importlib.util, "find_spec", lambda name: name)

    def stoi(x, y, rate, extended=False):
        return 0.5 if extended else 1.0

    def pesq(x, y, rate, band):
        assert (rate, band) == (8000, "narrow")
        raise ValueError("no utterance")

    def track(x, rate):
        raise ValueError("too short")

    monkeypatch.setattr(measures, "stoi", stoi)
    monkeypatch.setattr(measures, "pesq", pesq)
    monkeypatch.setattr(speech.pitch, "track", track)
    scores = by_metric(speech.score(sounds, judged, SETTINGS))
    assert (scores["stoi"], scores["estoi"]) == ((1.0, 1.0), (0.5, 0.5))
    for name in ("pesq", *speech.VOICE):
        assert all(map(math.isnan, scores[name]))


def test_a_whisper_has_the_mel_but_not_the_voice():
    pytest.importorskip("pyworld", reason="pyworld-prebuilt is not installed")
    vowel, whisper = (
        np.round(8000 * voices.vowel(8000, source)).astype(np.int16)
        for source in (voices.buzz(1.0, 8000, 120.0), voices.hiss(1.0, 8000))
    )
    silence = np.zeros_like(vowel)
    recorded = Judged(("vowel",), (vowel,), (), 8000)
    voice, breath, nothing = (
        by_metric(speech.score([clips.as_sound(sound)], recorded, SETTINGS))
        for sound in (vowel, whisper, silence)
    )
    assert [voice[name] for name in speech.VOICE[1:]] == [(100,), (0,), (0,), (0,)]
    assert voice["harmonicity"][0] > 25
    assert breath["mel_l1"][0] < 1
    assert breath["voiced_share"][0] < 15
    assert breath["voicing_error"][0] > 80
    assert abs(breath["harmonicity"][0]) < 2
    assert (nothing["voiced_share"][0], nothing["harmonicity"][0]) == (0, 0)
    assert math.isnan(nothing["pitch_rmse"][0])
    recorded = recorded._replace(clips=(silence,))
    scores = by_metric(speech.score([clips.as_sound(vowel)], recorded, SETTINGS))
    assert all(math.isnan(scores[name][0]) for name in speech.VOICE)


def test_band():
    assert [speech.band(r) for r in (8000, 16000, 22050)] == [
        *("narrow", "wide", "wide")
    ]


def test_noise_has_the_power_of_the_clip():
    clip = speech_models.tone(4000)
    power = np.mean(np.square(clip.astype(float)))
    noise = clips.white_noise(clip, 0).astype(float)
    floats.assert_close(np.mean(noise**2), power, rtol=1e-3)
    added = clips.with_noise(clip, 0).astype(float) - clip
    assert np.abs(added - noise).max() <= 1
    assert not np.any(clips.with_noise(np.zeros(10, np.int16), 0))


def test_beginnings():
    long, short = np.arange(16_000, dtype=np.int16), np.ones(5_000, np.int16)
    tiny = np.ones(500, np.int16)
    recorded = (long, short, tiny, long[:9000])
    data = Clips(
        *("tones", np.ones((1, 512), np.int16), np.ones((1, 256), np.int16)),
        *(recorded, ("long", "short", "tiny", "middle"), "", 8000),
    )
    found = clips.beginnings(data, seconds=1.0)
    assert found.names == ("long", "short", "middle")
    assert found.left_out == ("tiny",)
    # 16 parts of 8000 samples, each cut to a multiple of 64.
    assert [len(clip) for clip in found.clips] == [8000, 4928, 8000]
    np.testing.assert_array_equal(found.clips[0], long[:8000])
    assert found.longest == 8000
    assert found.seconds == pytest.approx((8000 + 4928 + 8000) / 8000)
    assert found.first(1).names == ("long",)
    assert clips.beginnings(data, count=1).longest == 16_000
    with pytest.raises(ConfigError, match="raise it"):
        clips.beginnings(data, seconds=0.1)
