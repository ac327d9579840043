import numpy as np
import pytest

from fdnf.data import super_resolution, synthetic_pairs
from fdnf.data.tabular import DataError
from fdnf.ops import resize


@pytest.mark.parametrize("scale", [4, 8])
def test_low_resolution_is_what_bicubic_reduction_gives(scale):
    data = synthetic_pairs.synthetic_pairs(rows=8, scale=scale, crop=32)
    reduced = np.asarray(resize.downscale_uint8(data.train, scale))
    # The kernel reaches two low-resolution pixels; what lies beyond the border differs.
    inside = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_array_equal(reduced[inside], data.train_lr[inside])
    assert (np.diff(data.train.astype(int), axis=1) != 0).any()


def test_images_are_a_plane_plus_or_minus_the_board():
    data = synthetic_pairs.synthetic_pairs(rows=32, crop=16)
    corner = data.train[:, :2, :2].astype(int)
    # A plane's mixed difference is nothing, the board's is four contrasts.
    mixed = corner[:, 0, 0] + corner[:, 1, 1] - corner[:, 0, 1] - corner[:, 1, 0]
    assert set(np.unique(mixed)) == {
        -4 * synthetic_pairs.CONTRAST,
        4 * synthetic_pairs.CONTRAST,
    }
    assert (mixed == mixed[:, :1]).all()


def test_error_of_the_plane_is_the_contrast():
    level, slope = np.full((1, 3), 100), np.full((1, 3, 2), 2)
    hr, lr = synthetic_pairs.pair(level, slope, np.array([1]), (8, 12), 4)
    plane, same = synthetic_pairs.pair(level, slope, np.array([0]), (8, 12), 4)
    assert (np.abs(hr.astype(int) - plane) == synthetic_pairs.CONTRAST).all()
    np.testing.assert_array_equal(lr, same)
    # At [1, 2] of low resolution the centre is 5.5 down, 9.5 right.
    assert lr[0, 1, 2].tolist() == [100 + 2 * 5.5 + 2 * 9.5] * 3


def test_same_arguments_give_the_same_data():
    first, second = (synthetic_pairs.synthetic_pairs(rows=4) for _ in range(2))
    np.testing.assert_array_equal(first.train, second.train)
    other = synthetic_pairs.synthetic_pairs(rows=4, seed=1)
    assert (first.train != other.train).any()
    assert (len(first.train), len(first.val)) == (4, 1)
    super_resolution.validate(first)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"scale": 3, "crop": 9}])
def test_arguments_that_do_not_fit(wrong):
    with pytest.raises(DataError, match="at least one row and an even scale"):
        synthetic_pairs.synthetic_pairs(**wrong)
