import io
import tarfile

import h5py
import numpy as np
import pytest

from fdnf.data import cache, download, paths
from fdnf.data.builders import bsds300, common, hepmass, miniboone, power, tables
from fdnf.data.tabular import DataError


class Point:
    """An object that only a pickle can hold."""


@pytest.fixture
def archive(tmp_path):
    """An archive with the published members, small."""
    rng = np.random.default_rng(0)
    minutes = np.arange(100.0)[:, None]
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        for name in bsds300.GROUPS:
            file[name] = rng.normal(size=(20, 63))
    table = io.StringIO()
    features = rng.normal(size=(100, 27))
    table.write("# label," + ",".join(f"f{index}" for index in range(27)) + "\n")
    np.savetxt(table, np.concatenate([np.ones((100, 1)), features], 1), delimiter=",")
    members = {
        "power/data.npy": npy(np.concatenate([rng.normal(size=(100, 7)), minutes], 1)),
        "miniboone/data.npy": npy(rng.normal(size=(100, 43))),
        "hepmass/1000_train.csv": table.getvalue().encode(),
        "hepmass/1000_test.csv": table.getvalue().encode(),
        "BSDS300/BSDS300.hdf5": (tmp_path / "b.hdf5").read_bytes(),
    }
    manual = tmp_path / "manual"
    manual.mkdir()
    with tarfile.open(manual / common.ARCHIVE, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return manual


def npy(rows):
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "dim"),
    [
        (power.Power, 6),
        (miniboone.Miniboone, 43),
        (hepmass.Hepmass, 27),
        (bsds300.Bsds300, 63),
    ],
)
def test_archive_serves_all_but_gas(archive, tmp_path, kind, dim):
    builder = kind(data_dir=tmp_path / "tfds", file_format="array_record")
    assert [part.shape[1] for part in builder.splits(archive)] == [dim] * 3
    assert not list(paths.cache_dir().glob(".scratch-*"))


def test_archive_is_verified_and_preferred(archive, monkeypatch):
    asked = []
    monkeypatch.setattr(
        download, "fetch", lambda urls, path, **sums: asked.append((path, sums))
    )
    power.Power.obtain(archive)
    assert asked == [(archive / "data.tar.gz", {"md5": common.ARCHIVE_MD5})]
    asked.clear()
    (archive / "data.tar.gz").unlink()
    power.Power.obtain(archive)
    assert asked == [(archive / power.ZIP, {})]


def test_other_archive_of_that_name_is_refused(archive):
    with pytest.raises(DataError, match="its MD5 is"):
        tables.rows("power", str(archive.parent))


def test_array_that_is_pickled_is_not_read(tmp_path):
    with open(tmp_path / "data.npy", "wb") as file:
        np.save(file, np.array([[Point()]], object))
    with pytest.raises(DataError, match="no plain array"):
        common.read_array(tmp_path / "data.npy", 1)


def test_array_of_another_form(tmp_path):
    np.save(tmp_path / "data.npy", np.ones((3, 4)))
    with pytest.raises(DataError, match=r"\[rows, 8\], got float64 \(3, 4\)"):
        common.read_array(tmp_path / "data.npy", 8)


def test_repeats_are_counted_of_the_smallest_value():
    rows = np.arange(40.0).reshape(10, 4)
    rows[:6, 1] = -1
    rows[:5, 2] = -1
    rows[:9, 3] = 99
    np.testing.assert_array_equal(common.repeats_smallest(rows), [0, 1, 0, 0])


def test_a_failed_preparation_leaves_no_cache(tmp_path):
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "MiniBooNE_PID.txt").write_text("no counts")
    with pytest.raises(DataError, match="should count"):
        tables.rows("miniboone", str(tmp_path))
    assert cache.load("miniboone-1.0.0") is None
