import numpy as np
import pytest

from fdnf.data import recordings
from fdnf.data.recordings import Cut, Recording
from fdnf.data.tabular import DataError
from tests.data import recorded


def clips(count, length=100):
    return [
        Recording(f"c{i:03}", length, lambda i=i: recorded.clip(i, length))
        for i in range(count)
    ]


def test_split_is_by_name_whatever_the_order():
    given = clips(40)
    parts = recordings.hold_out(given, 5, 0)
    assert [len(part) for part in parts] == [31, 4, 5]
    names = [clip.name for part in parts for clip in part]
    assert len(set(names)) == 40
    assert parts == recordings.hold_out(given[::-1], 5, 0)
    # A fifth at most, whatever is asked for.
    assert len(recordings.hold_out(given[:20], 50, 0)[2]) == 4


def test_test_clips_are_long_enough():
    given = [*clips(20), *(clip._replace(length=10) for clip in clips(40)[20:])]
    train, val, test = recordings.hold_out(given, 8, 50)
    assert {clip.length for clip in test} == {100}
    assert {clip.length for clip in train} == {10, 100}
    with pytest.raises(DataError, match="No clip has the 500 samples"):
        recordings.hold_out(given, 8, 500)


def test_too_few_clips():
    with pytest.raises(DataError, match="9 clips are too few"):
        recordings.hold_out(clips(9), 5, 0)


def test_assembled_set():
    data = recordings.assemble(
        "a", clips(20), Cut(16, 8_000, 8_000, None, test=3), "of tests", None
    )
    # 17 * 1 clips of 100 samples: starts 0, 16, ... 64, and 68.
    assert data.train.shape == (15 * 6, 32)
    assert data.val.shape == (2 * 6, 16)
    assert len(data.test) == 3
    for name, clip in zip(data.test_names, data.test, strict=True):
        np.testing.assert_array_equal(clip, recorded.clip(int(name[1:]), 100))
    assert data.source == (
        "of tests, 15/2/3 clips (train/val/test), 0 s to train on, 8,000 Hz; 90 tiles"
        " of 32 samples"
    )
    held = {int(name[1:]) for name in data.test_names} | set(data.val[:, 0] // 1_000)
    assert not held & set((data.train[:, 0] // 1_000).tolist())


def test_rows_are_spread_over_the_clips():
    how = Cut(16, 8_000, 8_000, 30, test=3, windows=4)
    data = recordings.assemble("a", clips(20), how, "of tests", None)
    assert (
        np.unique(data.train[:, 0] // 1_000, return_counts=True)[1].tolist() == [2] * 15
    )
    assert len(data.val) == 4
    with pytest.raises(DataError, match="'a': rows=91, but it has 90"):
        recordings.assemble("a", clips(20), how._replace(rows=91), "", None)
    most = how._replace(rows=None, most=1_000)
    assert len(recordings.assemble("a", clips(20), most, "", None).train) == 90


def test_resampled_set():
    how = Cut(16, 22_050, 8_000, None, test=3)
    data = recordings.assemble("a", clips(20, 441), how, "of tests", None)
    assert [len(clip) for clip in data.test] == [160] * 3
    assert data.rate == 8_000
    assert "resampled from 22,050 to 8,000 Hz" in data.source


def test_set_is_read_back_only_for_the_same_arguments(cache):
    given, how = clips(20, 64), Cut(16, 8_000, 8_000, None)
    first = recordings.assemble("a", given, how, "s", "key")
    unread = [clip._replace(read=None) for clip in given]
    again = recordings.assemble("a", unread, how, "s", "key")
    for one, two in zip(
        (*first[1:3], *first.test), (*again[1:3], *again.test), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(TypeError):
        recordings.assemble("a", unread, how._replace(segment=8), "s", "key")


def test_names_do_not_depend_on_where_the_files_lie(tmp_path):
    def names(root):
        for name in ("digits/1", "letters/a", "hello"):
            recorded.write(root / f"{name}.wav", np.ones(4))
        return [c.name for c in recordings.from_files([*root.rglob("*.wav")], 22_050)]

    assert names(tmp_path / "a") == names(tmp_path / "b/usr/share")
    assert names(tmp_path / "a") == ["digits/1", "hello", "letters/a"]
