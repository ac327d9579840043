import numpy as np
import pytest

from fdnf.data import div2k
from fdnf.data.builders import div2k as builder
from fdnf.data.tabular import DataError
from tests.data import pictures


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Unpacked folders of a few small images."""
    rng = np.random.default_rng(0)
    for kind, split, count in (
        (builder.Div2kHr, "train", 14),
        (builder.Div2kHr, "validation", 3),
        (builder.Flickr2kHr, "train", 4),
    ):
        archive = kind.ARCHIVES[split]._replace(count=count)
        monkeypatch.setitem(kind.ARCHIVES, split, archive)
        folder = tmp_path / "manual" / archive.folder
        folder.mkdir(parents=True)
        first, digits = int(archive.first[:-4]), len(archive.first) - 4
        for number in range(first, first + count):
            content = pictures.encode(pictures.random(rng, 1, 26, 34, 3)[0])
            (folder / f"{number:0{digits}}.png").write_bytes(content)
    return tmp_path


def test_div2k_holds_out_its_last_images(directory):
    data = div2k.div2k(str(directory), crop=8, windows=1_000)
    assert len(data.train) == 4 * 2 * 3
    assert len(data.val) == 10 * 3 * 4
    (test,) = data.test
    assert test.names == ("DIV2K 0801", "DIV2K 0802", "DIV2K 0803")
    assert test.hr[0].shape == (24, 32, 3)
    assert "4 training images, tested on 3 of its 100" in data.source
    tiles = {bytes(tile[:8, :8]) for tile in data.train}
    assert not tiles & {bytes(window) for window in data.val}


def test_flickr2k_adds_to_training_alone(directory):
    alone = div2k.div2k(str(directory), crop=8, test_images=1)
    both = div2k.div2k(str(directory), crop=8, flickr2k=True, test_images=1, rows=16)
    np.testing.assert_array_equal(both.val, alone.val)
    assert len(both.test[0].hr) == 1
    assert len(both.train) == 16
    assert "DIV2K, 4 training images and Flickr2K" in both.source
    assert "16 training tiles of 16x16 from 8 images" in both.source


def test_second_reading_decodes_nothing(directory, monkeypatch):
    first = div2k.div2k(str(directory), crop=8)

    def unread(*given):
        raise AssertionError("read again")

    monkeypatch.setattr(div2k, "_bytes", unread)
    again = div2k.div2k(str(directory), crop=8)
    np.testing.assert_array_equal(first.train_lr, again.train_lr)
    np.testing.assert_array_equal(first.test[0].lr[2], again.test[0].lr[2])
    with pytest.raises(AssertionError, match="read again"):
        div2k.div2k(str(directory), crop=4)


def test_arguments_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="test_images=0"):
        div2k.div2k(str(tmp_path), test_images=0)
    with pytest.raises(DataError, match="div2k: crop=30"):
        div2k.div2k(str(tmp_path), crop=30)
