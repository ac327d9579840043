"""Sounds as files and as pictures."""

import numpy as np
import pytest

from fdnf.evaluation.pictures import spectrograms
from fdnf.ops import mel
from tests.evaluation import speech_models


def test_wav_files(tmp_path):
    samples = np.array([0, -32768, 32767], np.int16)
    path = spectrograms.write_wav(tmp_path / "new" / "a.wav", samples, 8000)
    rate, found = speech_models.read_wav(path)
    assert rate == 8000
    np.testing.assert_array_equal(found, samples)
    with pytest.raises(ValueError, match="float64"):
        spectrograms.write_wav(path, np.zeros(3), 8000)
    assert spectrograms.stem("digits/1 a?") == "digits_1_a"


def test_picture_of_silence(tmp_path):
    settings = mel.Settings(
        rate=8000, n_fft=256, window=256, hop=64, mels=8, high=4000.0
    )
    silent = {"truth": np.zeros(2000, np.int16), "other": speech_models.tone()}
    path = spectrograms.draw(tmp_path / "a.png", silent, settings, "silence")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
