import numpy as np
import pytest

from fdnf.evaluation.pictures import calibration

DRAW = np.random.default_rng(0)


def test_pictures_of_calibration(tmp_path):
    values = {"teacher": DRAW.random((300, 2)), "student": DRAW.random((300, 2)) ** 2}
    path = tmp_path / "pit.png"
    assert calibration.pit_histograms(values, path, names=("a", "b")) == path
    assert path.stat().st_size > 5000
    with pytest.raises(ValueError, match="at least one model and one column"):
        calibration.pit_histograms(values, path, names=())
    at = np.linspace(0, 1, 20)
    path = tmp_path / "given.png"
    densities = {"teacher": np.ones((2, 20))}
    made = calibration.conditional_densities(densities, at, np.array([0.1, 0.8]), path)
    assert made == path
    assert path.stat().st_size > 5000
    with pytest.raises(ValueError, match=r"\(2, 19\)"):
        calibration.conditional_densities(
            {"teacher": np.ones((2, 19))}, at, np.array([0.1, 0.8]), path
        )
