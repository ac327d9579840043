import numpy as np
import pytest

from fdnf.data import speech, synthetic_speech
from fdnf.data.tabular import DataError


@pytest.fixture
def clips():
    return synthetic_speech.synthetic_speech(rows=4, segment=64)


def test_sound_clips_pass_unchanged(clips):
    assert speech.validate(clips) is clips
    assert (clips.event, clips.dim) == ((64, 1), 64)


def test_faults_are_named(clips):
    faults = {
        "rate=0; expected": clips._replace(rate=0),
        "'train': expected an int16 .* got float64": clips._replace(
            train=clips.train / 32768
        ),
        r"'val': expected shape \[windows, segment\], got": clips._replace(
            val=clips.val[..., None]
        ),
        "is empty": clips._replace(train=clips.train[:0]),
        "windows of 64 samples do not fit into training tiles of 32": clips._replace(
            train=clips.train[:, :32]
        ),
        "3 test clips and 2 different": clips._replace(test_names=("a", "b", "b")),
        "3 test clips and 2 ": clips._replace(test_names=("a", "b")),
        "0 test clips": clips._replace(test=(), test_names=()),
        "test clip 'middle': is empty": clips._replace(
            test=(clips.test[0], clips.test[1][:0], clips.test[2])
        ),
    }
    for text, wrong in faults.items():
        with pytest.raises(DataError, match=text):
            speech.validate(wrong)


@pytest.mark.parametrize("length", [8, 9, 15, 16, 100])
def test_every_window_lies_in_a_tile(length):
    samples = np.arange(length, dtype=np.int16)
    tiles = speech.cut(samples, 4)
    assert tiles.shape == (speech.count(length, 4), 8)
    found = {bytes(tile[start : start + 4]) for tile in tiles for start in range(5)}
    wanted = {bytes(samples[start : start + 4]) for start in range(length - 3)}
    assert found == wanted


def test_short_clips_are_filled_with_silence():
    samples = np.array([1, 2, 3], np.int16)
    assert speech.cut(samples, 2).tolist() == [[1, 2, 3, 0]]
    assert speech.windows(samples, 4).tolist() == [[1, 2, 3, 0]]
    assert speech.windows(samples, 2).tolist() == [[1, 2]]
    assert speech.count(3, 2) == 1


@pytest.mark.parametrize(
    "given", [(0, 8_000), (64, 0), (64, 8_000, 0), (64.0, 8_000), (64, 8_000, 4, 0)]
)
def test_arguments_that_do_not_fit(given):
    with pytest.raises(DataError, match="a: .*expected a whole number from 1"):
        speech.check_windows("a", *given)
