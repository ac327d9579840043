"""Strips of enlarged images: what stands in them, and where it was cut."""

import numpy as np
import pytest

from fdnf.evaluation.models import upscaler
from fdnf.evaluation.pictures import grids, strips
from fdnf.ops import resize
from tests.evaluation import sr_pair


@pytest.fixture
def drawn(monkeypatch):
    """What goes into the pictures, by file name."""
    found = {}

    def draw(rows, path, **options):
        found[path.name] = rows
        return original(rows, path, **options)

    original = grids.draw
    monkeypatch.setattr(grids, "draw", draw)
    return found


def test_panels_are_of_one_place(drawn, tmp_path):
    rng = np.random.default_rng(0)
    data = sr_pair.data()
    # Flat but for one corner.
    hr = np.full((64, 80, 3), 90, np.uint8)
    hr[40:56, 60:76] = rng.integers(0, 256, (16, 16, 3))
    lr = resize.downscale_uint8(hr, 4)
    benchmark = data.test[0]._replace(names=("one",), hr=(hr,), lr=(lr,))
    small = data.test[1]
    both = benchmark._replace(
        names=("one", small.names[0]),
        hr=(hr, small.hr[0][:16, :16]),
        lr=(lr, small.lr[0][:4, :4]),
    )
    paths = strips.draw(
        tmp_path,
        {"m": upscaler.of(sr_pair.trained(0.0))},
        data._replace(test=(both,)),
        strips=5,
        temperature=1.0,
        prefix="p_",
    )
    assert [path.name for path in paths] == ["p_even.png"]
    line = drawn["p_even.png"]["one"]
    np.testing.assert_array_equal(line["high resolution"][0], hr[40:56, 60:76])
    seen = line["low resolution"][0]
    np.testing.assert_array_equal(seen[::4, ::4], lr[10:14, 15:19])
    # What repeats pixels gives the low resolution, wherever its window began.
    np.testing.assert_array_equal(line["m, sample 1"][0], seen)
    bicubic = resize.upscale_uint8(lr, 4)[40:56, 60:76]
    np.testing.assert_array_equal(line["bicubic"][0], bicubic)


def test_images_shown_are_spread():
    assert strips.spread(5, 2) == [0, 4]
    assert strips.spread(9, 3) == [0, 4, 8]
    assert strips.spread(2, 6) == [0, 1]


def test_the_liveliest_window():
    image = np.zeros((20, 24, 3), np.uint8)
    image[9:13:2, 14:18] = 255
    assert strips.liveliest(image, 8, 4) in {(4, 8), (8, 8), (8, 12), (4, 12)}
    assert strips.liveliest(image, 20, 4) == (0, 0)
    assert strips.liveliest(image.astype(float), 4, 4)[1] in (12, 16)
