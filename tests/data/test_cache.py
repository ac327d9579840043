import hashlib

import numpy as np
import pytest

from fdnf.data import cache as caching
from fdnf.data import paths


@pytest.fixture
def splits():
    return tuple(np.full((rows, 2), rows, np.float32) for rows in (9, 3, 4))


def test_round_trip_leaves_nothing_else(splits, cache):
    assert caching.load("set") is None
    caching.save("set", splits)
    for kept, given in zip(caching.load("set"), splits, strict=True):
        np.testing.assert_array_equal(kept, given)
    assert [path.name for path in cache.iterdir()] == ["set"]


@pytest.mark.parametrize("size", [0, 20, 130])
def test_damage_is_absence_and_can_be_repaired(splits, cache, size):
    caching.save("set", splits)
    file = cache / "set" / "val.npy"
    file.write_bytes(file.read_bytes()[:size])
    assert caching.load("set") is None
    caching.save("set", splits)
    np.testing.assert_array_equal(caching.load("set")[1], splits[1])


def test_second_writer_loses_quietly(splits):
    caching.save("set", splits)
    caching.save("set", splits)
    assert caching.load("set") is not None


def test_cache_that_cannot_be_written_is_no_error(splits, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    caching.save("set", splits)
    assert caching.load("set") is None
    assert paths.cache_dir() == tmp_path / "file" / "fdnf"


def test_sha256_runs_over_files_in_order(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"ab")
    two.write_bytes(b"c")
    assert caching.sha256(one, two) == hashlib.sha256(b"abc").hexdigest()
