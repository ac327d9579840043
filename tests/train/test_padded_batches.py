"""Passes over an array that see each example exactly once."""

import numpy as np
import pytest

from fdnf.train import validation


@pytest.mark.parametrize(
    ("rows", "batch", "multiple", "size"),
    [
        (10, 4, 1, 4),
        (8, 4, 1, 4),
        (3, 8, 1, 3),
        (3, 8, 2, 4),
        (10, 3, 2, 4),
        (1, 1, 4, 4),
    ],
)
def test_each_example_once_in_batches_of_one_size(rows, batch, multiple, size):
    array = np.arange(2 * rows).reshape(rows, 2)
    batches = list(validation.padded_batches(array, batch, multiple))
    assert {part.shape for part, _ in batches} == {(size, 2)}
    assert {mask.shape for _, mask in batches} == {(size,)}
    seen = np.concatenate([part[mask] for part, mask in batches])
    np.testing.assert_array_equal(seen, array)
    # Cut at the same rows whatever their multiple.
    assert len(batches) == -(-rows // batch)


def test_padding_repeats_a_real_example():
    array = np.arange(5.0)[:, None]
    *_, (last, mask) = validation.padded_batches(array, 4)
    np.testing.assert_array_equal(mask, [True, False, False, False])
    np.testing.assert_array_equal(last, np.full((4, 1), 4.0))


@pytest.mark.parametrize(("batch", "multiple"), [(0, 1), (4, 0)])
def test_sizes_below_one(batch, multiple):
    with pytest.raises(ValueError, match="at least 1"):
        next(validation.padded_batches(np.ones((3, 1)), batch, multiple))


def test_no_rows():
    with pytest.raises(ValueError, match="no rows"):
        next(validation.padded_batches(np.ones((0, 1)), 4))
