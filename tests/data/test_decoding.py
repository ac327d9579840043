import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fdnf.data import bsds300, decoding, high_resolution
from fdnf.data.high_resolution import Picture
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


def saved(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_sixteen_bits_are_scaled_and_not_cut_off():
    deep = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)
    found = decoding.picture(pictures.encode(deep), "it")
    np.testing.assert_array_equal(found, [[0, 0, 1], [128, 254, 255]])
    # In every reader.
    content = pictures.encode(deep)
    expected = np.asarray(found)
    pixels = decoding.decode([content], 1, (2, 3, 1), "here")
    np.testing.assert_array_equal(pixels[0, ..., 0], expected)
    np.testing.assert_array_equal(bsds300.grey(content, "it"), expected)
    high = high_resolution.pixels(Picture("a", lambda: content), 1)
    np.testing.assert_array_equal(high, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        *((1, lambda x: x), (2, np.fliplr), (3, lambda x: np.rot90(x, 2))),
        *(
            (4, np.flipud),
            (5, lambda x: x.swapaxes(0, 1)),
            (6, lambda x: np.rot90(x, -1)),
        ),
        *((7, lambda x: np.rot90(x.swapaxes(0, 1), 2)), (8, np.rot90)),
    ],
)
def test_orientation_is_applied(form, orientation, turned):
    stored = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 50, np.ones((8, 8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(stored.astype(np.uint8)), form, exif=exif)
    found = np.asarray(decoding.picture(content, "it"), int)
    assert np.abs(found - turned(stored)).max() < 3
    given = Picture("a", lambda: content)
    assert high_resolution.size(given, 1) == found.shape
    assert high_resolution.pixels(given, 1).shape[:2] == found.shape
    # A size that is expected is the upright one.
    decoding.decode([content], 1, (*found.shape, 1), "here")
    if found.shape != stored.shape:
        with pytest.raises(DataError, match="image 0 .* wide and .* high; expected"):
            decoding.decode([content], 1, (*stored.shape, 1), "here")


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0no table", b"Exif\0\0II*\0\xff\xff\xff\x7f"]
)
def test_an_orientation_that_does_not_read_is_none(exif):
    content = saved(Image.new("L", (3, 2), 9), "JPEG", exif=exif)
    assert np.asarray(decoding.picture(content, "it")).shape == (2, 3)
    assert decoding.size(content, "it") == (3, 2)


def see_through(mode):
    """Red, half of a green, and a blue that is not seen; or greys."""
    colours = np.array([[[200, 0, 0], [0, 200, 0], [0, 0, 200]]], np.uint8)
    alpha = np.array([[[255], [128], [0]]], np.uint8)
    if mode == "RGBA":
        return Image.fromarray(np.concatenate([colours, alpha], axis=-1))
    if mode == "LA":
        greys = np.concatenate([colours.max(axis=-1, keepdims=True), alpha], axis=-1)
        return Image.fromarray(greys)
    image = Image.new("P", (3, 1))
    image.putpalette(colours.tobytes())
    image.putdata([0, 1, 2])
    image.info["transparency"] = alpha.tobytes()
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_colours_that_are_not_seen_do_not_show(mode):
    found = decoding.picture(saved(see_through(mode)), "it")
    assert found.mode == ("L" if mode == "LA" else "RGB")
    seen, half, hidden = np.asarray(found.convert("RGB"), int)[0]
    assert hidden.tolist() == [255, 255, 255]
    assert abs(half[1] - (200 + 255) / 2) < 2
    assert seen[0] == 200


def test_a_colour_that_stands_for_transparency():
    image = Image.fromarray(np.array([[[9, 9, 9], [200, 0, 0]]], np.uint8))
    content = saved(image, transparency=(9, 9, 9))
    found = np.asarray(decoding.picture(content, "it"))
    np.testing.assert_array_equal(found, [[[255, 255, 255], [200, 0, 0]]])


def test_palettes_become_colours():
    image = see_through("P")
    del image.info["transparency"]
    found = decoding.picture(saved(image), "it")
    np.testing.assert_array_equal(np.diagonal(np.asarray(found)[0]), [200] * 3)


def test_inks_are_refused():
    content = saved(Image.new("CMYK", (4, 4), (0, 99, 0, 0)), "JPEG")
    with pytest.raises(DataError, match="it does not decode: its mode is CMYK"):
        decoding.picture(content, "it")


@pytest.mark.parametrize("form", ["EPS", "GIF", "TIFF", "BMP"])
def test_other_formats_are_not_opened(form, monkeypatch):
    content = saved(Image.new("RGB", (4, 4)), form)
    for plugin in Image.OPEN:
        if plugin not in decoding.FORMATS:
            _, accept = Image.OPEN[plugin]
            opens = (lambda *_: pytest.fail("opened")), accept
            monkeypatch.setitem(Image.OPEN, plugin, opens)
    with pytest.raises(DataError, match="no PNG or JPEG file, it begins with b'"):
        decoding.picture(content, "it")
    with pytest.raises(DataError, match="no PNG or JPEG"):
        high_resolution.size(Picture("a", lambda: content), 1)
    with pytest.raises(DataError, match="no PNG or JPEG"):
        bsds300.grey(content, "it")


def bomb(width, height):
    """A PNG file of a few kilobytes that announces so many pixels."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data)


@pytest.mark.parametrize("side", [9_000, 11_000, 100_000])
def test_what_is_too_large_is_not_decoded(side, monkeypatch):
    def load(*_):
        raise AssertionError("decoded")

    content = bomb(side, side)
    monkeypatch.setattr(Image.Image, "load", load)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(DataError, match="image 0 .* (is .* wide|announces)"):
        decoding.decode([content], 1, (4, 4, 3), "here")
    for read in (bsds300.grey, decoding.size, decoding.picture):
        with pytest.raises(DataError, match="it announces.* Make it smaller"):
            read(content, "it")


def test_image_of_another_size():
    streams = [pictures.encode(np.zeros((4, 5), np.uint8))]
    with pytest.raises(DataError, match="image 0 .*is 5 wide and 4 high; expected 4"):
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
