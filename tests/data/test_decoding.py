import numpy as np
import pytest

from fdnf.data import decoding
from fdnf.data.tabular import DataError
from tests.data import pictures

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_images_come_back_in_order(channels, monkeypatch):
    monkeypatch.setattr(decoding, "_CHUNK", 3)
    pixels = pictures.random(RNG, 8, 5, 4, channels)
    streams = [pictures.encode(image) for image in pixels]
    found = decoding.decode(iter(streams), 8, (5, 4, channels), "here")
    np.testing.assert_array_equal(found, pixels)


def test_convert_is_applied_to_rgb():
    grey = pictures.encode(np.full((6, 6), 9, np.uint8))
    found = decoding.decode(
        [grey], 1, (2, 3, 3), "here", lambda image: image.crop((0, 0, 3, 2))
    )
    assert found.shape == (1, 2, 3, 3)
    assert (found == 9).all()


@pytest.mark.parametrize("damage", ["nothing", "noise", "half"])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_broken_image_is_named_by_index(damage, form):
    good = pictures.encode(pictures.random(RNG, 1, 32, 32, 3)[0], form)
    bad = {"nothing": b"", "noise": RNG.bytes(500), "half": good[: len(good) // 2]}
    with pytest.raises(DataError, match="here: image 2 .*does not decode"):
        decoding.decode([good, good, bad[damage], good], 4, (32, 32, 3), "here")


def test_image_of_another_size():
    streams = [pictures.encode(np.zeros((4, 5), np.uint8))]
    with pytest.raises(DataError, match="image 0 is 5 wide and 4 high; expected 4 and"):
        decoding.decode(streams, 1, (4, 4, 1), "here")


@pytest.mark.parametrize(("count", "text"), [(1, "more than"), (3, "2 images, exp")])
def test_wrong_count(count, text):
    streams = [pictures.encode(np.zeros((4, 4), np.uint8))] * 2
    with pytest.raises(DataError, match=text):
        decoding.decode(streams, count, (4, 4, 1), "here")


def test_packed_streams(tmp_path):
    streams = [b"one", b"", b"three"]
    np.savez(tmp_path / "a.npz", **pictures.pack(streams, "train_"))
    assert decoding.packed(tmp_path / "a.npz", "train_") == streams


@pytest.mark.parametrize(
    "offsets",
    [[0, 3, 9], [0, 5, 3, 8], [1, 8], [8], [], [[0, 8]], [0.0, 8.0]],
    ids=str,
)
def test_offsets_that_do_not_fit(tmp_path, offsets):
    content = np.zeros(8, np.uint8)
    np.savez(tmp_path / "a.npz", jpeg_bytes=content, offsets=np.array(offsets))
    with pytest.raises(DataError, match="does not cut 'jpeg_bytes'"):
        decoding.packed(tmp_path / "a.npz")
