import logging

import numpy as np
import pytest

from fdnf.data import build, cache, download, published, tabular_sets
from fdnf.data.tabular import DataError, Tabular


def test_cached_rows_are_read_without_a_source(monkeypatch):
    splits = tuple(np.full((rows, 8), 1, np.float32) for rows in (9, 3, 4))
    assert not tabular_sets.is_prepared("gas")
    cache.save(published.cache_key("gas"), splits)
    assert tabular_sets.is_prepared("gas")
    data = tabular_sets.whole("gas", rows=5)
    assert data.train.shape == (5, 8)
    assert "9/3/4 rows, published 852,174/94,685/105,206" in data.source


def test_row_difference():
    counts = published.PUBLISHED["power"].rows
    assert published.row_difference("power", counts) is None
    assert "do not compare" not in tabular_sets._source("power", counts)


@pytest.mark.parametrize("name", list(published.PUBLISHED))
def test_no_network(name, monkeypatch, cache):
    def refuse(*args):
        raise OSError("no route to host")

    monkeypatch.setattr(download, "_open", refuse)
    with pytest.raises(DataError) as caught:
        build.DATASETS[name]()
    text = str(caught.value)
    assert published.PUBLISHED[name].title in text
    assert str(cache / "manual") in text
    assert "--config=configs/maf_patches.py" in text
    assert len(text.splitlines()) < 10


def write_miniboone(path, events, columns=50):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(events + 5, columns))
    # Seven features whose smallest value repeats, and one event that failed.
    rows[:, 3:10] = np.maximum(rows[:, 3:10], 0)
    rows[4] = -999
    with open(path, "w") as file:
        file.write(f" {events} 5\n")
        np.savetxt(file, rows, fmt="%.6e")
    return np.delete(np.delete(rows[:events], 4, axis=0), np.s_[3:10], axis=1)


def test_a_set_is_prepared_from_its_source_once(tmp_path, monkeypatch, caplog):
    manual = tmp_path / "manual"
    manual.mkdir()
    kept = write_miniboone(manual / "MiniBooNE_PID.txt", 9001)
    # The last rows are the test rows; scaling is by all before them.
    mean, deviation = kept[:8100].mean(axis=0), kept[:8100].std(axis=0)
    with caplog.at_level(logging.WARNING, logger="absl"):
        data = build.DATASETS["miniboone"](data_dir=str(tmp_path))
    assert [split.shape for split in data[1:4]] == [(7290, 43), (810, 43), (900, 43)]
    np.testing.assert_allclose(data.train[:3], (kept[:3] - mean) / deviation, atol=1e-5)
    np.testing.assert_allclose(
        data.train[7000:7003], (kept[7000:7003] - mean) / deviation, atol=1e-5
    )
    np.testing.assert_allclose(data.test, (kept[8100:] - mean) / deviation, atol=1e-5)
    assert "7,290/810/900 rows, published 29,556/3,284/3,648" in caplog.text
    assert (manual / "MiniBooNE_PID.txt.sha256").exists()
    (manual / "MiniBooNE_PID.txt").unlink()
    again = build.DATASETS["miniboone"](data_dir=str(tmp_path))
    np.testing.assert_array_equal(again.test, data.test)


def test_source_of_another_dimension(tmp_path):
    (tmp_path / "manual").mkdir()
    file = tmp_path / "manual" / "MiniBooNE_PID.txt"
    rows = np.random.default_rng(0).normal(size=(30, 50))
    with open(file, "w") as text:
        text.write("30 0\n")
        np.savetxt(text, rows)
    with pytest.raises(DataError, match=r"left shape \(25, 50\), published are 43"):
        build.DATASETS["miniboone"](data_dir=str(tmp_path))


@pytest.fixture
def directory(tmp_path):
    """Has a file for each subset, and no network is asked for the whole sets."""
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    for name in ("power_subset", "miniboone", "miniboone_small"):
        np.savez(tmp_path / f"{name}.npz", train=rows, val=rows[:3], test=rows[:4])
    return str(tmp_path)


@pytest.fixture
def whole(monkeypatch):
    asked = []

    def load(*args):
        asked.append(args)
        rows = np.zeros((3, 2), np.float32)
        return Tabular("whole", rows, rows, rows, "stand-in")

    monkeypatch.setattr(tabular_sets, "whole", load)
    return asked


@pytest.mark.parametrize("name", ["power", "miniboone", "miniboone_small"])
def test_subset_is_used_where_it_lies(directory, name, monkeypatch, whole):
    monkeypatch.setenv("FDNF_DATA_DIR", directory)
    data = getattr(tabular_sets, name)(rows=5)
    assert data.name == name
    assert len(data.train) == 5
    assert "published" in data.source
    assert not whole


@pytest.mark.parametrize("name", ["power", "miniboone"])
def test_subset_can_be_forced_either_way(directory, tmp_path, name, whole):
    getattr(tabular_sets, name)(directory, subset=False)
    assert whole == [(name, directory, None)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No such file: .*npz"):
        getattr(tabular_sets, name)(str(tmp_path / "empty"), subset=True)


@pytest.mark.parametrize("name", ["power", "miniboone", "gas", "hepmass"])
def test_whole_set_otherwise(tmp_path, name, whole):
    getattr(tabular_sets, name)(str(tmp_path), 7)
    assert whole == [(name, str(tmp_path), 7)]


def test_real_power(real):
    data = tabular_sets.power(str(real("power_subset.npz").parent))
    assert (data.dim, len(data.train)) == (6, 77_029)


def test_real_miniboone(real):
    data = tabular_sets.miniboone(str(real("miniboone.npz").parent))
    assert (data.dim, len(data.train), len(data.test)) == (43, 1_523, 3_648)
