import numpy as np
import pytest

from fdnf.metrics import showers
from tests.floats import assert_close

# Two layers: one of two rings, one of a ring in four sectors.
WHERE = showers.Cells(
    np.array([0, 0, 1, 1, 1, 1]),
    np.array([1.0, 3, 2, 2, 2, 2]),
    np.pi * np.array([1.0, 1, 0.25, 0.75, 1.25, 1.75]),
    np.array([False, False, True, True, True, True]),
)
CELLS = np.array([[3.0, 1, 2, 0, 0, 2], [0, 0, 0, 0, 4, 0]])
ENERGY = np.array([10.0, 5])


def test_profiles_by_hand():
    found = showers.profiles(CELLS, ENERGY, WHERE)
    assert_close(found.layers, [[0.4, 0.4], [0, 0.8]], 1e-12)
    assert_close(found.rings, [[0.3, 0.4, 0.1], [0, 0.8, 0]], 1e-12)
    assert_close(found.response, [0.8, 0.8], 1e-12)
    assert_close(found.depth, [0.5, 1.0], 1e-12)
    # Radii 1, 3 and 2 with weights 3, 1 and 4: mean 1.75, second moment 3.5.
    assert_close(found.width, [np.sqrt(3.5 - 1.75**2), 0], 1e-6)
    assert_close(found.empty, [2 / 6, 5 / 6], 1e-12)


def test_features_by_hand():
    found = showers.features(CELLS, ENERGY, WHERE)
    side = 2 * np.cos(np.pi / 4)
    first = [0.8, np.log(0.4 + 1e-6), 0, 1.5, np.sqrt(0.75)]
    first += [np.log(0.4 + 1e-6), 0.5, side, 0]
    second = [0.8, np.log(1e-6), 1, 0, 0]
    second += [np.log(0.8 + 1e-6), 0.75, -side, -side]
    assert_close(found, [first, second], 1e-9)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 5\): expected .showers, 6."):
        showers.features(CELLS[:, :5], ENERGY, WHERE)
    with pytest.raises(ValueError, match=r"energy of shape \(1,\): expected \(2,\)"):
        showers.profiles(CELLS, ENERGY[:1], WHERE)
