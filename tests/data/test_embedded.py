import importlib.util
import time

import numpy as np
import pytest

from fdnf.data import embedded
from fdnf.data.tabular import DataError


def test_patches_are_made_within_seconds_and_kept(monkeypatch):
    start = time.process_time()
    first = embedded.patches()
    assert time.process_time() - start < 20
    assert [split.shape for split in first[1:4]] == [
        (200_000, 63),
        (10_000, 63),
        (20_000, 63),
    ]
    monkeypatch.setattr(embedded.bsds300, "draw", None)
    np.testing.assert_array_equal(embedded.patches().test, first.test)
    assert len(embedded.patches(rows=100).train) == 100


def test_patches_look_like_photographs():
    data = embedded.patches()
    covariance = np.cov(data.train[:20_000].T)
    # Neighbours agree and means are gone; noise or a wrong stride would not show this.
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert correlation > 0.6
    assert np.abs(data.train.mean(axis=0)).max() < 0.02


def test_no_photograph_on_two_sides():
    names = [name for group in embedded.PHOTOGRAPHS.values() for name in group]
    assert len(names) == len(set(names))
    stereo = [
        split
        for split, group in embedded.PHOTOGRAPHS.items()
        for name in group
        if "motorcycle" in name
    ]
    assert len(set(stereo)) == 1


def test_digits_are_the_levels_of_scikit_learn():
    from sklearn import datasets

    data = embedded.digits()
    rows = np.concatenate([data.train, data.val, data.test])
    assert rows.shape == (1797, 64)
    levels = np.floor(rows * 17)
    theirs = datasets.load_digits().data
    np.testing.assert_array_equal(
        levels[np.lexsort(levels.T)], theirs[np.lexsort(theirs.T)]
    )
    # Noise is uniform: the fractions' mean and variance are 1/2 and 1/12.
    noise = rows * 17 - levels
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.var() == pytest.approx(1 / 12, abs=0.002)
    np.testing.assert_array_equal(embedded.digits().val, data.val)


def test_digits_8x8_are_the_digits_without_noise():
    rows, data = embedded.digits(), embedded.digits_8x8()
    assert (data.event, data.levels, data.classes) == ((8, 8, 1), 17, 10)
    for split in ("train", "val", "test"):
        levels = np.floor(getattr(rows, split) * 17).reshape(-1, 8, 8, 1)
        np.testing.assert_array_equal(getattr(data, split), levels)
    assert "embedded" in data.source
    assert len(embedded.digits_8x8(rows=100).labels[0]) == 100


def test_digits_8x8_have_the_classes_of_scikit_learn():
    from sklearn import datasets

    theirs = datasets.load_digits()
    label = dict(
        zip(map(bytes, theirs.images.astype(np.uint8)), theirs.target, strict=True)
    )
    data = embedded.digits_8x8()
    images, labels = np.concatenate(data[1:4]), np.concatenate(data.labels)
    assert [label[bytes(image)] for image in images] == labels.tolist()


def test_absent_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="scikit-learn is not installed"):
        embedded.digits()


def test_file_that_a_package_no_longer_carries(monkeypatch):
    monkeypatch.setitem(embedded.PHOTOGRAPHS, "val", ("skimage/data/none.png",))
    with pytest.raises(DataError, match="scikit-image does not carry data/none.png"):
        embedded.patches()
