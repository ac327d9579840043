import gzip

import numpy as np
import pytest

from fdnf.data import idx
from fdnf.data.tabular import DataError
from tests.data import pictures

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def path(tmp_path):
    return pictures.write_idx(tmp_path / "a.gz", ARRAY)


def test_round_trip(path):
    np.testing.assert_array_equal(idx.read(path, 3), ARRAY)


def test_without_compression(path, tmp_path):
    (tmp_path / "a").write_bytes(gzip.decompress(path.read_bytes()))
    np.testing.assert_array_equal(idx.read(tmp_path / "a", 3), ARRAY)


@pytest.mark.parametrize("keep", [0, 5, 12, 30])
def test_cut_short(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="damaged or cut short"):
        idx.read(path, 3)


def test_no_gzip(path):
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="damaged or cut short"):
        idx.read(path, 3)


@pytest.mark.parametrize("magic", [b"\0\0\x08\1", b"\0\0\x0d\3", b"\1\0\x08\3"])
def test_wrong_magic(path, magic):
    pictures.write_idx(path, ARRAY, magic)
    with pytest.raises(DataError, match=f"begins with {magic.hex()}; .* 00000803"):
        idx.read(path, 3)


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_count(path, change):
    content = gzip.decompress(path.read_bytes())
    content = content[:-1] if change < 0 else content + b"\0"
    path.write_bytes(gzip.compress(content))
    more = "more" if change > 0 else 23
    with pytest.raises(DataError, match=f"= 24 bytes and has {more}"):
        idx.read(path, 3)


def test_huge_announced_size_costs_nothing(path):
    head = b"\0\0\x08\3" + b"\xff" * 12
    path.write_bytes(gzip.compress(head + b"\0" * 10))
    with pytest.raises(DataError, match=r"announces 79,228,.* cannot hold"):
        idx.read(path, 3)


def test_what_follows_is_not_unpacked(path, monkeypatch):
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + bytes(1 << 22)))
    most, read = [], gzip.GzipFile.read

    def reading(self, size=-1):
        found = read(self, size)
        most.append(len(found))
        return found

    monkeypatch.setattr(gzip.GzipFile, "read", reading)
    with pytest.raises(DataError, match="= 24 bytes and has more"):
        idx.read(path, 3)
    assert max(most) == 25


def test_absent(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        idx.read(tmp_path / "none.gz", 1)
