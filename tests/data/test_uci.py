import numpy as np
import pytest

from fdnf.data import published, uci
from fdnf.data.tabular import DataError, Tabular


@pytest.fixture
def directory(tmp_path):
    """Has a file for each subset, and no network is asked for the whole sets."""
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    for name in ("power_subset", "miniboone", "miniboone_small"):
        np.savez(tmp_path / f"{name}.npz", train=rows, val=rows[:3], test=rows[:4])
    return str(tmp_path)


@pytest.fixture(autouse=True)
def whole(monkeypatch):
    asked = []

    def load(*args):
        asked.append(args)
        rows = np.zeros((3, 2), np.float32)
        return Tabular("whole", rows, rows, rows, "stand-in")

    monkeypatch.setattr(published, "load", load)
    return asked


@pytest.mark.parametrize("name", ["power", "miniboone", "miniboone_small"])
def test_subset_is_used_where_it_lies(directory, name, monkeypatch, whole):
    monkeypatch.setenv("FDNF_DATA_DIR", directory)
    data = getattr(uci, name)(rows=5)
    assert data.name == name
    assert len(data.train) == 5
    assert "published" in data.source
    assert not whole


@pytest.mark.parametrize("name", ["power", "miniboone"])
def test_subset_can_be_forced_either_way(directory, tmp_path, name, whole):
    getattr(uci, name)(directory, subset=False)
    assert whole == [(name, directory, None)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No such data file"):
        getattr(uci, name)(str(tmp_path / "empty"), subset=True)


@pytest.mark.parametrize("name", ["power", "miniboone", "gas", "hepmass"])
def test_whole_set_otherwise(tmp_path, name, whole):
    getattr(uci, name)(str(tmp_path), 7)
    assert whole == [(name, str(tmp_path), 7)]


def test_real_power(real):
    data = uci.power(str(real("power_subset.npz").parent))
    assert (data.dim, len(data.train)) == (6, 77_029)


def test_real_miniboone(real):
    data = uci.miniboone(str(real("miniboone.npz").parent))
    assert (data.dim, len(data.train), len(data.test)) == (43, 1_523, 3_648)
