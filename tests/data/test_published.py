import logging

import numpy as np
import pytest

from fdnf.data import build, cache, download, published
from fdnf.data.tabular import DataError


def test_cached_rows_are_read_without_a_source(monkeypatch):
    splits = tuple(np.full((rows, 8), 1, np.float32) for rows in (9, 3, 4))
    assert not published.is_prepared("gas")
    cache.save(published.cache_key("gas"), splits)
    assert published.is_prepared("gas")
    data = published.load("gas", rows=5)
    assert data.train.shape == (5, 8)
    assert "9/3/4 rows, published 852,174/94,685/105,206" in data.source


def test_row_difference():
    counts = published.PUBLISHED["power"].rows
    assert published.row_difference("power", counts) is None
    assert "do not compare" not in published._source("power", counts)


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
