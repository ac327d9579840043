import numpy as np
import pytest

from fdnf.data import tiles
from fdnf.data.tabular import DataError


@pytest.mark.parametrize("length", [64, 65, 95, 96, 480, 321])
def test_every_window_lies_inside_a_tile(length):
    starts = tiles.starts(length, 64, 32)
    assert starts[0] == 0
    assert starts[-1] + 64 == length
    for window in range(length - 32 + 1):
        assert ((starts <= window) & (window + 32 <= starts + 64)).any()


def test_places_stay_on_the_grid_of_low_resolution():
    assert (tiles.starts(324, 64, 32) % 4 == 0).all()


def test_quotas_are_even_until_one_has_no_more():
    assert tiles.quotas("a", [10, 10, 10], 8) == [3, 3, 2]
    assert tiles.quotas("a", [1, 10, 10], 9) == [1, 4, 4]
    assert tiles.quotas("a", [2, 0, 3], None) == [2, 0, 3]
    assert tiles.quotas("a", [2, 0, 3], 5) == [2, 0, 3]


@pytest.mark.parametrize("rows", [0, 6, True])
def test_rows_that_are_not_there(rows):
    with pytest.raises(DataError, match="'a': rows=.*from 1 to 5"):
        tiles.quotas("a", [2, 3], rows)


def test_choice_is_fixed_and_grows():
    few, many = tiles.choose(100, 5, (0, 1)), tiles.choose(100, 20, (0, 1))
    assert set(few) <= set(many)
    assert (np.diff(many) > 0).all()
    assert set(few) != set(tiles.choose(100, 5, (0, 2)))
