import numpy as np
import pytest

from fdnf.data import asterisk
from fdnf.data.tabular import DataError
from tests.data import recorded

LONG = 2 * asterisk.RATE


@pytest.fixture(autouse=True)
def uninstalled(tmp_path, monkeypatch):
    """As on a machine without the package."""
    monkeypatch.setattr(asterisk, "INSTALLED", tmp_path / "installed")


def prompts(directory, rate=asterisk.RATE):
    for index in range(12):
        length = LONG if index < 6 else 500
        path = directory / "digits" / f"{index:02}.wav"
        recorded.write(path, recorded.clip(index, length), rate=rate)
    recorded.write(directory / "silence" / "1.wav", np.zeros(100), rate=rate)
    recorded.write(directory / "beep.wav", np.zeros(100), rate=rate)
    return directory


def test_prompts_without_silence_and_tones(tmp_path):
    data = asterisk.asterisk(root=str(prompts(tmp_path)), segment=200)
    assert "9/1/2 clips" in data.source
    assert {len(clip) for clip in data.test} == {LONG}
    assert data.rate == 8_000
    assert data.event == (200, 1)


@pytest.mark.parametrize("place", ["asterisk/usr/share", "installed/en_US_f_Allison"])
def test_places_that_are_looked_at(tmp_path, place):
    (tmp_path / "data").mkdir()
    base = tmp_path if place.startswith("installed") else tmp_path / "data"
    prompts(base / place)
    data = asterisk.asterisk(str(tmp_path / "data"), segment=200)
    named = asterisk.asterisk(root=str(base / place), segment=200)
    np.testing.assert_array_equal(data.train, named.train)


def test_absent_prompts_say_how_to_get_them(tmp_path):
    (tmp_path / "empty").mkdir()
    for args in ({}, {"root": str(tmp_path / "no")}, {"root": str(tmp_path / "empty")}):
        with pytest.raises(DataError, match="dpkg-deb -x asterisk-core-sounds-en-wav"):
            asterisk.asterisk(**args)


def test_prompts_of_another_rate(tmp_path):
    with pytest.raises(DataError, match="00.wav has 16,000 samples a second"):
        asterisk.asterisk(root=str(prompts(tmp_path, rate=16_000)))
