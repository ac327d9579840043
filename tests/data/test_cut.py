import io

import numpy as np
import pytest
from PIL import Image

from fdnf.data import cut


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, np.uint8) for shape in [(8, 11), (20, 9)]]


def encode(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_grey_is_rounded_luma():
    rgb = np.zeros((1, 3, 3), np.uint8)
    rgb[0, 0] = [255, 0, 0]
    rgb[0, 1] = [10, 20, 30]
    rgb[0, 2] = [255, 255, 255]
    # 76.2195, 2.989 + 11.74 + 3.42 = 18.149, and 0.9999 * 255 = 254.97
    np.testing.assert_array_equal(cut.grey(encode(rgb), "it"), [[76, 18, 255]])


def test_grey_images_keep_their_levels(images):
    np.testing.assert_array_equal(cut.grey(encode(images[0]), "it"), images[0])


def test_rows_are_patches_with_noise_below_one_level(images):
    rows = cut.draw(images, 300, seed=1)
    assert rows.dtype == np.float32
    # Dropping the last pixel loses nothing: the mean was taken off before.
    whole = np.concatenate([rows, -rows.sum(axis=1, keepdims=True)], axis=1) * 256
    windows = [
        np.lib.stride_tricks.sliding_window_view(image, (8, 8)).reshape(-1, 64)
        for image in images
    ]
    counts = [len(window) for window in windows]
    assert counts == [4, 26]
    levels = np.concatenate(windows).astype(float)
    # With its unknown mean removed a row is a patch plus noise in (-1, 1).
    centred = levels - levels.mean(axis=1, keepdims=True)
    gap = np.abs(whole[:, None] - centred).max(axis=2)
    assert (gap.min(axis=1) < 1).all()
    # Photographs are drawn evenly whatever their size, and every corner is reached.
    hits = np.bincount(gap.argmin(axis=1), minlength=30)
    assert (hits > 0).all()
    assert 110 < hits[:4].sum() < 190


def test_chunks_do_not_show(images, monkeypatch):
    whole = cut.draw(images, 50, seed=2)
    monkeypatch.setattr(cut, "_CHUNK", 16)
    np.testing.assert_array_equal(cut.draw(images, 50, seed=2), whole)


def test_seed_decides(images):
    one, two = cut.draw(images, 20, seed=1), cut.draw(images, 20, seed=2)
    np.testing.assert_array_equal(cut.draw(images, 20, seed=1), one)
    assert not np.array_equal(one, two)
