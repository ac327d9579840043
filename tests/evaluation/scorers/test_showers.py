import numpy as np
import pytest

from fdnf.data import showers as simulated
from fdnf.evaluation.pictures import showers as pictures
from fdnf.evaluation.scorers import showers


@pytest.fixture(scope="module")
def data():
    return simulated.showers(rows=4000, cells=28)


def test_showers_are_those_that_were_stored(data):
    assert showers.are(data)
    assert not showers.are(data._replace(name="rows"))
    test = showers.of_split(data, showers.TEST, 50)
    known = data.test[:50] * simulated.THRESHOLD
    np.testing.assert_allclose(test.cells, known, rtol=1e-4, atol=1e-9)
    energy, position = test.conditions[:, 0], test.conditions[:, 1:]
    assert 10 <= energy.min() < energy.max() <= 100
    assert np.abs(position).max() <= simulated.REACH
    response = test.cells.sum(axis=1) / energy
    np.testing.assert_allclose(response, 0.98, atol=0.12)


def test_classifiers_tell_wrong_showers_from_right_ones(data):
    def judged(given):
        return {s.metric: s for s in showers.judged(given, data, 0)}

    right = showers.of_split(data, showers.VAL, 400)
    same = judged(right)
    assert same["cells_auc"].n == same["features_auc"].n == 800
    for score in same.values():
        assert abs(score.value - 0.5) < 0.1
    # Energies that go with other showers.
    other = judged(right._replace(cells=right.cells[::-1]))
    assert other["features_auc"].value > 0.8
    assert other["cells_auc"].value > 0.6


def test_a_picture_of_high_level_features(data, tmp_path):
    shown = {
        label: (each.cells, each.conditions[:, 0])
        for label, each in (
            ("data", showers.of_split(data, showers.VAL, 100)),
            ("teacher", showers.of_split(data, showers.TEST, 100)),
        )
    }
    path = tmp_path / "figures" / "showers.png"
    assert pictures.high_level(shown, showers.where(data), path, title="a") == path
    assert path.stat().st_size > 10_000
    with pytest.raises(ValueError, match="expected at least the data"):
        pictures.high_level({}, showers.where(data), path)
