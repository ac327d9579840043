"""Other data have another fingerprint; the same, read on another machine, do not."""

import json

import numpy as np
import pytest

from fdnf.data import fingerprint
from fdnf.data.images import Images
from fdnf.data.tabular import Tabular


def table(seed=0, rows=3000):
    values = np.random.default_rng(seed).normal(size=(rows, 5)).astype(np.float32)
    parts = values[: rows - 600], values[rows - 600 : rows - 300], values[rows - 300 :]
    return Tabular("a table", *parts, source="there")


def images(seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (30, 4, 4, 1), np.uint8)
    return Images("images", values[:10], values[10:20], values[20:], source="there")


@pytest.mark.parametrize("make", [table, images])
def test_what_is_kept_as_json_is_known_again(make):
    kept = json.loads(json.dumps(fingerprint.of(make()), allow_nan=False))
    assert fingerprint.same(kept, fingerprint.of(make()))
    assert fingerprint.same(kept, fingerprint.of(make()._replace(source="elsewhere")))
    assert not fingerprint.same(kept, fingerprint.of(make(1)))


def test_last_bits_of_real_numbers_do_not_count():
    data = table()
    moved = data._replace(train=np.nextafter(data.train, np.float32(9)))
    assert fingerprint.same(*map(fingerprint.of, (data, moved)))


@pytest.mark.parametrize("row", [0, 17, 2399])
def test_one_changed_row_counts(row):
    data = table()
    data.train[row] += 1.0
    assert not fingerprint.same(*map(fingerprint.of, (table(), data)))
    pictures = images()
    pictures.val[row % 10, 0, 0] += 1
    assert not fingerprint.same(*map(fingerprint.of, (images(), pictures)))


def test_other_sizes_and_types_count():
    data = table()
    for other in (
        data._replace(test=data.test[1:]),
        data._replace(train=data.train[:, :4]),
        data._replace(train=(data.train * 100).astype(np.int16)),
        data._replace(train=data.train[:0]),
    ):
        assert not fingerprint.same(*map(fingerprint.of, (data, other)))


def test_of_large_arrays_blocks_all_over_are_read(monkeypatch):
    monkeypatch.setattr(fingerprint, "LIMIT", 1024)
    monkeypatch.setattr(fingerprint, "BLOCKS", 16)
    ours = (np.arange(10_000, dtype=np.int16),)
    theirs = (np.concatenate([ours[0][:5000], ours[0][5000:][::-1]]),)
    assert fingerprint.same(*map(fingerprint.of, (ours, ours)))
    assert not fingerprint.same(*map(fingerprint.of, (ours, theirs)))
