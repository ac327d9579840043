"""Grids hold the very pixels, enlarged by whole factors, at the places expected."""

import numpy as np
import pytest
from PIL import Image

from fdnf.evaluation.pictures import grids

RNG = np.random.default_rng(0)


def images(n, height=8, width=8, channels=1, top=256):
    shape = (n, height, width, channels)
    return RNG.integers(0, top, size=shape, dtype=np.uint8)


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def places(canvas, patch):
    """(top, left) of each exact occurrence of a patch [height, width, 3]."""
    height, width, _ = patch.shape
    hits = np.argwhere((canvas == patch[0, 0]).all(axis=-1))
    return [
        (int(y), int(x))
        for y, x in hits
        if np.array_equal(canvas[y : y + height, x : x + width], patch)
    ]


def enlarged(image, zoom):
    return np.kron(image, np.ones((zoom, zoom, 1), np.uint8)) * np.ones(3, np.uint8)


def test_tile_by_hand():
    three = np.arange(3 * 2, dtype=np.uint8).reshape(3, 1, 2, 1)
    canvas = grids.tile(three, across=2, gutter=1)[:, :, 0]
    empty = [grids.EMPTY] * 2
    np.testing.assert_array_equal(
        canvas, [[0, 1, 255, 2, 3], [255] * 5, [4, 5, 255, *empty]]
    )


def test_tile_enlarges_by_whole_pixels():
    colour = images(1, 2, 3, channels=3)
    np.testing.assert_array_equal(grids.tile(colour, 1, zoom=4), enlarged(colour[0], 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_stands_in_its_row_and_column(tmp_path, channels):
    data, first, second = (images(40, channels=channels) for _ in range(3))
    rows = {
        "data": {"": data},
        "teacher": {"temperature 1.0": first, "temperature 0.7": second},
    }
    path = tmp_path / "new" / "g.png"
    path = grids.draw(rows, path, across=4, down=2, zoom=2, gutter=2)
    assert path == tmp_path / "new" / "g.png"
    canvas = pixels(path)

    def at(image):
        (place,) = places(canvas, enlarged(image, 2))
        return place

    # One panel is as wide as two of four images and the gap between them.
    top, left = at(data[0])
    assert at(data[7]) == (top, left + 7 * 18)
    assert at(data[8]) == (top + 18, left)
    assert not places(canvas, enlarged(data[16], 2))
    below, start = at(first[0])
    assert below > top + 18
    assert start == left
    assert at(first[5]) == (below + 18, left + 18)
    assert at(second[0]) == (below, left + 4 * 18 - 2 + grids.GAP)
    assert not places(canvas, enlarged(first[8], 2))


def test_words_are_drawn_where_they_belong(tmp_path):
    black = np.zeros((4, 16, 16, 1), np.uint8)
    plain = pixels(grids.draw({"": {"": black}}, tmp_path / "a.png", across=4))
    told = pixels(
        grids.draw(
            {"teacher": {"temperature 0.7": black}},
            tmp_path / "b.png",
            across=4,
            title="Samples",
            note="The same noise for all.",
        )
    )
    assert told.shape[0] > plain.shape[0] + 50
    assert told.shape[1] > plain.shape[1] + 40
    left = told.shape[1] - plain.shape[1] + grids.MARGIN
    (y, x), *_ = places(told, enlarged(black[0], 4))
    assert x == left
    for part in (told[: y - 20], told[y - 18 : y - 2], told[y : y + 64, : left - 8]):
        assert part.min() < 100
    assert told[y + 64 + 4 :].min() < 100
    # Nothing is cut off at the edges.
    assert all(edge.min() == 255 for edge in (told[0], told[-1], told[:, 0]))


def test_few_levels_use_the_whole_grey_scale(tmp_path):
    digits = images(6, top=17)
    digits[0, 0, 0], digits[0, 0, 1] = 0, 16
    np.testing.assert_array_equal(
        np.unique(grids.spread(digits, 17))[[0, -1]], [0, 255]
    )
    assert grids.spread(np.uint8([8]), 17) == 128
    canvas = pixels(grids.draw({"": {"": digits}}, tmp_path / "d.png", levels=17))
    assert places(canvas, enlarged(grids.spread(digits[0], 17), 8))


def test_reconstructions_amplify_and_say_so(tmp_path, monkeypatch):
    notes = []
    compose = grids._compose

    def spy(lines, total, title, note):
        notes.append(note)
        return compose(lines, total, title, note)

    monkeypatch.setattr(grids, "_compose", spy)
    data = images(3, top=200)
    off = data.copy()
    off[1, 2, 3] += 5
    path = grids.reconstructions(data, {"a": data, "b": off}, tmp_path / "r.png")
    canvas = pixels(path)
    gap = np.zeros((8, 8, 1), np.uint8)
    gap[2, 3] = 255
    assert len(places(canvas, enlarged(gap, 8))) == 1
    assert "amplified 51 times: the largest, 5 of 255 levels, is white" in notes[0]
    assert "a 0 %, b 0.521 %" in notes[0]
    grids.reconstructions(data, {"a": data}, tmp_path / "s.png")
    assert notes[1] == "No pixel differs."


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "shapes {}"),
        ({"a": {}}, "shapes {}"),
        ({"a": {"": np.zeros((2, 4, 4, 1))}}, "float64"),
        ({"a": {"": np.zeros((2, 4, 4, 2), np.uint8)}}, "1 or 3"),
        ({"a": {"": images(2)}, "b": {"": images(2, 4)}}, "equal but for n"),
        ({"a": {"": np.full((1, 4, 4, 1), 17, np.uint8)}}, "a has the value 17"),
    ],
)
def test_wrong_images_are_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        grids.draw(rows, tmp_path / "x.png", levels=17)
    assert not (tmp_path / "x.png").exists()


def test_reconstructions_of_other_images(tmp_path):
    with pytest.raises(ValueError, match="as data"):
        grids.reconstructions(images(3), {"a": images(2)}, tmp_path / "x.png")


def test_a_long_row_goes_on_below(tmp_path):
    panels = {name: images(4) for name in ("a", "b", "c")}
    path = tmp_path / "g.png"
    grids.draw({"": panels}, path, across=2, down=2, wrap=2, zoom=1, gutter=2)
    canvas = pixels(path)
    (a, b, c) = (places(canvas, enlarged(p[0], 1))[0] for p in panels.values())
    assert a[0] == b[0] < c[0]
    assert a[1] == c[1] < b[1]
    # The panel that is left over is as wide as those above.
    (last,) = places(canvas, enlarged(panels["c"][3], 1))
    assert last == (c[0] + 10, c[1] + 10)
