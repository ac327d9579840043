import numpy as np
import pytest

from fdnf.data import wav
from fdnf.data.tabular import DataError
from tests.data import recorded


def test_samples_come_back(tmp_path):
    samples = np.array([-32768, -1, 0, 1, 32767], np.int16)
    path = recorded.write(tmp_path / "a.wav", samples)
    found = wav.read(path, 22_050)
    np.testing.assert_array_equal(found, samples)
    assert found.dtype == np.int16


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rate": 44_100}, "has 44,100 samples a second; expected 22,050.*sox a.wav"),
        ({"channels": 2}, "has 2 channels of 16 bits; expected 1 of 16"),
        ({"width": 4}, "has 1 channels of 32 bits"),
    ],
)
def test_files_of_another_form(tmp_path, options, text):
    path = recorded.write(tmp_path / "a.wav", np.zeros(8), **options)
    with pytest.raises(DataError, match=text):
        wav.read(path, 22_050)


def test_damaged_files(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(DataError, match=r"No such file: .*a\.wav"):
        wav.read(path, 22_050)
    content = recorded.encode(np.zeros(100))
    for keep, fault in ((0, "is empty"), (3, "is no WAV"), (20, "cut"), (40, "cut")):
        path.write_bytes(content[:keep])
        with pytest.raises(DataError, match=rf"a\.wav .*{fault}") as caught:
            wav.read(path, 22_050)
        assert ": ." not in str(caught.value)
    path.write_bytes(content[:-51])
    with pytest.raises(DataError, match="cut short: 74 of 100 samples"):
        wav.read(path, 22_050)
    path.write_bytes(b"ID3 and more of it, as an MP3 file begins")
    with pytest.raises(DataError, match="no WAV file: it begins with b'ID3 .*Convert"):
        wav.read(path, 22_050)
    recorded.write(path, np.zeros(0))
    with pytest.raises(DataError, match="has no samples: it is a header"):
        wav.read(path, 22_050)


def streamed(content, riff, data):
    """A file as a program leaves it that could not go back to its header."""
    riff, data = (size.to_bytes(4, "little") for size in (riff, data))
    assert content[36:40] == b"data"
    return content[:4] + riff + content[8:40] + data + content[44:]


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        *((0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000)),
        *((0x80000024, 0x80000000), (0x7FFFFFFF, 0x7FFFFFFF)),
    ],
)
def test_sizes_that_the_writer_did_not_know(riff, data):
    samples = np.arange(-50, 50).astype(np.int16)
    content = streamed(recorded.encode(samples), riff, data)
    for more in (b"", b"\1"):
        found, rate = wav.decode(content + more, "it")
        np.testing.assert_array_equal(found, samples)
        assert rate == 22_050


def test_a_stream_with_more_before_its_samples():
    samples = np.arange(5).astype(np.int16)
    content = recorded.encode(samples)
    title = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
    content = content[:36] + title + content[36:-14] + b"\xff" * 4 + content[-10:]
    found, _ = wav.decode(content[:4] + b"\xff" * 4 + content[8:], "it")
    np.testing.assert_array_equal(found, samples)
    # Of the two sizes one may be right.
    content = recorded.encode(samples)
    found, _ = wav.decode(content[:4] + bytes(4) + content[8:], "it")
    np.testing.assert_array_equal(found, samples)


def test_a_stream_that_ended_before_its_samples():
    content = streamed(recorded.encode(np.zeros(0)), 0xFFFFFFFF, 0xFFFFFFFF)
    with pytest.raises(DataError, match="has no samples"):
        wav.decode(content, "it")


def test_header_that_lies_reads_no_more_than_there_is(tmp_path):
    content = bytearray(recorded.encode(np.zeros(10)))
    content[40:44] = (2**31).to_bytes(4, "little")
    with pytest.raises(DataError, match="cut short: 10 of 1,073,741,824"):
        wav.decode(bytes(content), "it")


def test_a_tone_keeps_its_frequency_and_loudness():
    time = np.arange(22_050) / 22_050
    tone = np.round(10_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    low = wav.resample(tone, 22_050, 8_000)
    assert len(low) == wav.resampled_length(22_050, 22_050, 8_000) == 8_000
    expected = 10_000 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    assert np.abs(low - expected)[200:-200].max() < 30
    # Above what the lower rate holds there is nothing left.
    high = np.round(10_000 * np.sin(2 * np.pi * 6_000 * time)).astype(np.int16)
    assert np.abs(wav.resample(high, 22_050, 8_000))[200:-200].max() < 100


def test_resampling_clips_overshoots_and_keeps_equal_rates():
    loud = np.where(np.arange(1_000) // 100 % 2, 32767, -32768).astype(np.int16)
    assert wav.resample(loud, 22_050, 22_050) is loud
    up = wav.resample(loud, 8_000, 16_000)
    assert up.max() == 32767
    assert up.min() == -32768
    for length in (1, 7, 441, 1_000):
        found = wav.resample(loud[:length], 22_050, 8_000)
        assert len(found) == wav.resampled_length(length, 22_050, 8_000)
