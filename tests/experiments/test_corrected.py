"""What exact correction is worth, of flows whose samples are known."""

import numpy as np
import pytest

from fdnf.evaluation.tables import table as markup
from fdnf.experiments import corrected
from fdnf.flows.affine import Affine
from fdnf.train.teachers import Trained
from tests import tiny

META = {"event": [2], "preprocess": {}}


def affine(scale, taught=None):
    variables = {
        "params": {
            "mu": np.zeros((1, 2), np.float32),
            "R": scale * np.eye(2, dtype=np.float32)[None],
        },
        "constants": {},
    }
    return Trained(Affine(), variables, tiny.config(), META, taught=taught)


@pytest.fixture(scope="module")
def found():
    return corrected.measure(
        affine(1.3, affine(1.0)), 0, 600, methods=("metropolis",), batch=600, steps=9
    )


def test_corrected_samples_are_told_from_the_teachers_by_chance_alone(found):
    assert found.keys() == {
        *(corrected.FAST, corrected.STUDENT, corrected.WEIGHTED),
        "metropolis",
    }
    each, fast = found["metropolis"], found[corrected.FAST]
    for way in (fast, each):
        assert abs(way["c2st"] - 0.5) < 0.06
    rate = each["rows_a_second"] / fast["rows_a_second"]
    assert each["against_fast"] == pytest.approx(rate)
    assert each["proposals"] == 600 * 9
    # Of two dimensions: sqrt(2 s^2 - 1) / s^2 of each.
    assert each["ess_share"] == pytest.approx((2 * 1.69 - 1) / 1.69**2, abs=0.03)


def test_a_table_of_several_runs():
    runs = [
        {
            corrected.NAIVE: {"rows_a_second": 10.0, "against_naive": 1.0},
            "metropolis": {
                **{"rows_a_second": rate, "against_naive": rate / 10, "c2st": 0.5},
                **{"acceptance": 0.5, "told": ["the weights are too wide"]},
            },
        }
        for rate in (200.0, 220.0)
    ]
    text = markup.to_markdown(corrected.table(runs, 600))
    (line,) = [each for each in text.splitlines() if each.startswith("| metropolis")]
    cells = [each.strip() for each in line.strip("|").split("|")]
    assert cells[1:4] == ["0.5000 ± 0.0000", "210 ± 127", "21.0 ± 12.7"]
    assert cells[6] == "50.0 ± 0.0"
    assert "Not to be trusted: the weights are too wide." in text


def test_nothing_there(tmp_path, capsys):
    assert corrected.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
