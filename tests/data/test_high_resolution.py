import numpy as np
import pytest

from fdnf.data import high_resolution
from fdnf.data.high_resolution import Picture, Windows
from fdnf.data.tabular import DataError
from fdnf.ops import resize
from tests.data import pictures


def picture(name, height, width, seed=0):
    noise = pictures.random(np.random.default_rng(seed), 1, height, width, 3)[0]
    content = pictures.encode(noise)
    return Picture(name, lambda: content), noise


def test_sides_become_multiples_of_the_scale_at_the_top_left():
    given, noise = picture("a", 13, 18)
    assert high_resolution.size(given, 4) == (12, 16)
    np.testing.assert_array_equal(high_resolution.pixels(given, 4), noise[:12, :16])


def test_grey_pictures_get_three_channels():
    content = pictures.encode(np.full((8, 8, 1), 7, np.uint8))
    assert high_resolution.pixels(Picture("a", lambda: content), 4).shape == (8, 8, 3)


def test_tiles_are_cut_out_of_the_reduced_whole():
    (first, one), (second, two) = picture("a", 32, 48), picture("b", 40, 32, seed=1)
    hr, lr, places = high_resolution.cut("set", [first, second], Windows(4, 16, 8))
    assert len(hr) == 3 * 5 + 4 * 3
    reduced = [np.asarray(resize.downscale_uint8(image, 4)) for image in (one, two)]
    for tile, low, (index, top, left) in zip(hr, lr, places, strict=True):
        image = (one, two)[index]
        np.testing.assert_array_equal(tile, image[top : top + 16, left : left + 16])
        top, left = top // 4, left // 4
        np.testing.assert_array_equal(
            low, reduced[index][top : top + 4, left : left + 4]
        )
    assert len({tuple(place) for place in places}) == len(places)


def test_rows_are_spread_over_the_pictures():
    both = [picture("a", 32, 32)[0], picture("b", 64, 64)[0]]
    places = high_resolution.cut("set", both, Windows(4, 16, 8, rows=10))[2]
    assert np.bincount(places[:, 0]).tolist() == [5, 5]
    everything = high_resolution.cut("set", both, Windows(4, 16, 8, most=1_000))[2]
    assert len(everything) == 9 + 49
    assert {tuple(place) for place in places} <= {tuple(p) for p in everything}


def test_picture_smaller_than_a_tile():
    small, _ = picture("small.png", 35, 20)
    with pytest.raises(
        DataError, match=r"small.png is 20 wide and 32 high .*at most 2"
    ):
        high_resolution.cut("set", [small], Windows(4, 32, 16))


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.6])
def test_picture_that_is_damaged(keep):
    content = picture("a", 32, 32)[0].read()
    broken = Picture("folder/a.png", lambda: content[: int(keep * len(content))])
    with pytest.raises(DataError, match="folder/a.png does not decode"):
        high_resolution.cut("set", [broken], Windows(4, 16, 8))


def test_whole_pictures_are_read_back(cache):
    given = [picture("a", 12, 16)[0], picture("b", 8, 21, seed=1)[0]]
    made = high_resolution.whole("set", given, 4, "key")
    assert [image.shape for image in made.lr] == [(3, 4, 3), (2, 5, 3)]
    unread = [Picture(name, None) for name in ("a", "b")]
    again = high_resolution.whole("set", unread, 4, "key")
    assert again.names == made.names
    for first, second in zip((*made.hr, *made.lr), (*again.hr, *again.lr), strict=True):
        np.testing.assert_array_equal(first, second)


def test_set_is_read_back_only_for_the_same_arguments(cache):
    train, val = [picture("a", 32, 32)[0]], [picture("b", 32, 32, seed=1)[0]]
    test = (high_resolution.whole("set", val, 4),)
    unread = ([Picture("a", None)], [Picture("b", None)])

    def make(pictures, crop, rows=None):
        sides = (4, crop, 2 * crop)
        return high_resolution.assemble(
            "set", "key", pictures, test, sides, (rows, None, 2), "of tests"
        )

    first = make((train, val), 8)
    assert (len(first.train), len(first.val)) == (9, 2)
    assert first.source == "of tests; 9 training tiles of 16x16 from 1 images, x4"
    np.testing.assert_array_equal(make(unread, 8).train_lr, first.train_lr)
    with pytest.raises(TypeError):
        make(unread, 4)
    with pytest.raises(TypeError):
        make(unread, 8, rows=3)
