import numpy as np
import pytest

from fdnf.data import bsds300, cache, published
from fdnf.data.tabular import DataError, Tabular
from tests.data import pictures

COUNTS = (60, 20, 30)


def encode(level):
    # Grey 8x9 images of one level with a bright corner that tells it apart.
    pixels = np.zeros((8, 9, 3), np.uint8)
    pixels[0] = level
    return pictures.encode(pixels)


@pytest.fixture
def path(tmp_path):
    arrays = {}
    for split, levels in {"train": range(40, 70), "test": range(100, 105)}.items():
        arrays |= pictures.pack([encode(level) for level in levels], f"{split}_")
    file = tmp_path / bsds300.FILE
    np.savez(file, **arrays)
    return file


def levels(rows):
    """The level of each row's photograph, up to the noise."""
    bright, dark = rows[:, :8].mean(axis=1), rows[:, 8:].mean(axis=1)
    return (bright - dark) * 256


def test_splits_share_no_photograph(path):
    data = bsds300.drawn(path, COUNTS)
    assert [len(split) for split in data[1:4]] == list(COUNTS)
    order = np.random.RandomState(0).permutation(30)
    held_out = 40 + order[-20:]
    kept = 40 + order[:-20]
    # Levels differ by whole numbers, noise moves a row's level by some tenths.
    gap_val = np.abs(levels(data.val)[:, None] - held_out).min(axis=1)
    gap_train = np.abs(levels(data.train)[:, None] - kept).min(axis=1)
    assert np.median(gap_val) < 0.5
    assert np.median(gap_train) < 0.5
    assert levels(data.test).min() > 95


def test_is_drawn_once_and_the_same_again(path, cache, monkeypatch):
    first = bsds300.drawn(path, COUNTS)
    (kept,) = cache.iterdir()
    monkeypatch.setattr(bsds300, "draw", None)
    again = bsds300.drawn(path, COUNTS)
    np.testing.assert_array_equal(first.val, again.val)
    assert kept.name.startswith("bsds300-v1-60-20-30-")


def test_cache_knows_its_source(path):
    first = bsds300.drawn(path, COUNTS)
    with np.load(path) as arrays:
        np.savez(path, **{name: arrays[name] for name in arrays}, more=np.ones(1))
    np.testing.assert_array_equal(first.test, bsds300.drawn(path, COUNTS).test)
    assert len(list(cache.paths.cache_dir().iterdir())) == 2


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="No such file: .*bsds300_jpeg.npz"):
        bsds300.bsds300(str(tmp_path), exact=False)


def test_broken_photograph(path):
    with np.load(path) as arrays:
        broken = {name: arrays[name] for name in arrays}
    broken["test_jpeg_bytes"] = broken["test_jpeg_bytes"] * 0
    np.savez(path, **broken)
    with pytest.raises(DataError, match="does not decode"):
        bsds300.drawn(path, COUNTS)


def test_published_rows_come_first_once_prepared(path, monkeypatch):
    monkeypatch.setattr(bsds300, "drawn", lambda file: bsds300_tiny(file))
    monkeypatch.setitem(
        published.PUBLISHED,
        "bsds300",
        published.Published("BSDS300", 2, (3, 3, 3), "9"),
    )

    def bsds300_tiny(file):
        rows = np.zeros((4, 2), np.float32)
        return Tabular("bsds300", rows, rows, rows, "drawn")

    assert bsds300.bsds300(str(path.parent)).source == "drawn"
    rows = np.ones((3, 2), np.float32)
    cache.save("bsds300-9", (rows, rows, rows))
    assert "full" in bsds300.bsds300(str(path.parent)).source
    assert bsds300.bsds300(str(path.parent), exact=False).source == "drawn"


def test_gaussian_fits_as_published(real):
    data = bsds300.drawn(real(bsds300.FILE), (50_000, 1_000, 50_000))
    mean = data.train.mean(axis=0, dtype=np.float64)
    lower = np.linalg.cholesky(np.cov(data.train.T))
    z = np.linalg.solve(lower, (data.test - mean).T)
    nats = (
        -0.5 * (z**2).sum(axis=0).mean()
        - np.log(np.diag(lower)).sum()
        - 63 / 2 * np.log(2 * np.pi)
    )
    # Published: 96.67; 50,000 patches of each leave about 0.3 of noise.
    assert nats == pytest.approx(96.7, abs=1.5)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, np.uint8) for shape in [(8, 11), (20, 9)]]


def test_grey_is_rounded_luma():
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[:, 0] = [255, 0, 0]
    rgb[:, 1] = [10, 20, 30]
    rgb[:, 2] = [255, 255, 255]
    # 76.2195, 2.989 + 11.74 + 3.42 = 18.149, and 0.9999 * 255 = 254.97
    np.testing.assert_array_equal(
        bsds300.grey(pictures.encode(rgb), "it"), [[76, 18, 255]] * 2
    )


def test_grey_images_keep_their_levels(images):
    np.testing.assert_array_equal(
        bsds300.grey(pictures.encode(images[0]), "it"), images[0]
    )


def test_rows_are_patches_with_noise_below_one_level(images):
    rows = bsds300.draw(images, 300, seed=1)
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
    whole = bsds300.draw(images, 50, seed=2)
    monkeypatch.setattr(bsds300, "_CHUNK", 16)
    np.testing.assert_array_equal(bsds300.draw(images, 50, seed=2), whole)


def test_seed_decides(images):
    one, two = bsds300.draw(images, 20, seed=1), bsds300.draw(images, 20, seed=2)
    np.testing.assert_array_equal(bsds300.draw(images, 20, seed=1), one)
    assert not np.array_equal(one, two)
