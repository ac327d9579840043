import numpy as np
import pytest

from fdnf.data import super_resolution, synthetic_pairs
from fdnf.data.tabular import DataError


@pytest.fixture
def pairs():
    return synthetic_pairs.synthetic_pairs(rows=4, crop=8)


def change(pairs, **benchmark):
    return pairs._replace(test=(pairs.test[0]._replace(**benchmark),))


def test_sound_pairs_pass_unchanged(pairs):
    assert super_resolution.validate(pairs) is pairs
    assert (pairs.event, pairs.dim) == ((8, 8, 3), 192)


def test_faults_are_named(pairs):
    hr, lr, names = pairs.test[0].hr, pairs.test[0].lr, pairs.test[0].names
    faults = {
        "scale=1; expected": pairs._replace(scale=1),
        "'train', low resolution: expected a uint8 .* got float64": pairs._replace(
            train_lr=pairs.train_lr / 255
        ),
        r"expected shape \[images, side, side, 3\], got \(4, 16, 16\)": pairs._replace(
            train=pairs.train[..., 0]
        ),
        "expected squares": pairs._replace(val=pairs.val[:, :4]),
        r"is empty": pairs._replace(train=pairs.train[:0]),
        "4 in high, 3 in low": pairs._replace(train_lr=pairs.train_lr[:3]),
        "high resolution is 16x16 .* low is 3x3; .* should be 12x12": pairs._replace(
            train_lr=pairs.train_lr[:, :3, :3]
        ),
        "windows of 16 do not fit into training tiles of 8": pairs._replace(
            train=pairs.val,
            train_lr=pairs.val_lr,
            val=pairs.train,
            val_lr=pairs.train_lr,
        ),
        "no test images": pairs._replace(test=()),
        "2 names, 3 images": change(pairs, names=names[:2]),
        "two images have one name": change(pairs, names=("a", "a", "b")),
        "benchmark 'synthetic', '8x16': high resolution is 8x16": change(
            pairs, lr=(lr[0], lr[0], lr[2])
        ),
        "'16x8', low resolution: expected a uint8": change(
            pairs, lr=(*lr[:2], lr[2].astype(np.int32))
        ),
        "'8x8', high resolution: expected shape": change(
            pairs, hr=(hr[0][None], *hr[1:])
        ),
    }
    for text, wrong in faults.items():
        with pytest.raises(DataError, match=text):
            super_resolution.validate(wrong)


def test_tile_is_twice_the_crop_by_default():
    assert super_resolution.check_windows("a", 4, 32, None) == 64
    assert super_resolution.check_windows("a", 4, 32, 48) == 48


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((4, 30, None), "crop=30 and tile=60 must be multiples of scale=4"),
        ((4, 32, 28), "tile no smaller than the crop"),
        ((1, 32, None), "scale=1.*scale from 2"),
        ((4, 32.0, None), r"crop=32\.0"),
        ((4, 0, None), "crop=0"),
        ((True, 32, None), "scale=True"),
        ((4, 32, None, 0), "windows=0"),
    ],
)
def test_arguments_that_do_not_fit(given, text):
    with pytest.raises(DataError, match=text):
        super_resolution.check_windows("a", *given)
