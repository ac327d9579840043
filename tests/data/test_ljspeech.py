import numpy as np
import pytest

from fdnf.data import ljspeech
from fdnf.data.builders import encoded
from fdnf.data.builders import ljspeech as builder
from fdnf.data.tabular import DataError
from tests.data import recorded


def clips(directory, count=20):
    for index in range(count):
        path = directory / f"LJ001-{index + 1:04}.wav"
        recorded.write(path, recorded.clip(index, 441 + index))
    return directory


def unread(*given):
    raise AssertionError("read again")


def test_clips_in_the_data_directory(tmp_path):
    clips(tmp_path / "ljspeech")
    data = ljspeech.ljspeech(str(tmp_path), segment=100)
    assert "subset: 20 of 13,100 clips" in data.source
    assert "14/2/4 clips" in data.source
    for name, clip in zip(data.test_names, data.test, strict=True):
        index = int(name[-4:]) - 1
        np.testing.assert_array_equal(clip, recorded.clip(index, 441 + index))
    low = ljspeech.ljspeech(str(tmp_path), segment=100, rate=8_000, rows=9)
    assert low.test_names == data.test_names
    assert (low.rate, len(low.train)) == (8_000, 9)


def test_subset_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="No WAV files in .*ljspeech"):
        ljspeech.ljspeech(str(tmp_path), subset=True)


def test_prepared_corpus_gives_what_the_clips_give(tmp_path, monkeypatch):
    clips(tmp_path / "ljspeech")
    clips(tmp_path / "manual" / "LJSpeech-1.1" / "wavs")
    archive = builder.LjspeechWav.ARCHIVES["train"]._replace(count=20)
    monkeypatch.setitem(builder.LjspeechWav.ARCHIVES, "train", archive)
    part = ljspeech.ljspeech(str(tmp_path), segment=100)
    whole = ljspeech.ljspeech(str(tmp_path), segment=100, subset=False)
    np.testing.assert_array_equal(part.train, whole.train)
    np.testing.assert_array_equal(part.val, whole.val)
    assert part.test_names == whole.test_names
    assert whole.source.startswith("LJSpeech 1.1, full, 14/2/4 clips")
    # Afterwards nothing is read but what was kept.
    monkeypatch.setattr(ljspeech, "_samples", unread)
    again = ljspeech.ljspeech(str(tmp_path), segment=100, subset=False)
    np.testing.assert_array_equal(again.train, whole.train)
    with pytest.raises(AssertionError, match="read again"):
        ljspeech.ljspeech(str(tmp_path), segment=50, subset=False)


def test_corpus_that_cannot_be_had(tmp_path, monkeypatch):
    def fetch(urls, path, **sums):
        raise DataError(f"no network for {urls[0]} to {path}")

    monkeypatch.setattr(encoded.download, "fetch", fetch)
    with pytest.raises(DataError, match="LJSpeech has to be prepared first. no net"):
        ljspeech.ljspeech(str(tmp_path))


def test_real_clips(real):
    directory = real("ljspeech/metadata.csv").parent
    data = ljspeech.ljspeech(str(directory.parent), segment=4_096)
    assert "subset: 45 of 13,100 clips" in data.source
    assert len(data.test) == 9
    assert all(len(clip) > 22_050 for clip in data.test)
    # Speech: loud enough, not clipped, and neighbours alike.
    assert 500 < data.train.std() < 5_000
    wave = data.test[0].astype(float)
    assert np.corrcoef(wave[1:], wave[:-1])[0, 1] > 0.8
