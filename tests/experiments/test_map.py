"""What the map says of settings whose numbers are known."""

import json

import numpy as np
import pytest
from PIL import Image

from fdnf import files
from fdnf.evaluation.core import scores, stats
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.experiments import map as maps
from fdnf.train.rules import ConfigError

# By method, of three seeds. The seeds differ by more than the methods do.
LIKELIHOODS = {
    "teacher": (5.0, 15.0, 26.0),
    "student": (1.0, 11.0, 21.0),
    "ilkd": (2.1, 12.2, 22.0),
    "skd": (0.5, 10.4, 20.6),
    "lkd": (1.9, 10.2, 21.0),
}


def written(folder, values, metric="log_likelihood", data="bsds300", sign=1, rows=None):
    for method, numbers in values.items():
        for seed, value in enumerate(numbers):
            facts = {"parameters": 20 if method == "teacher" else 10, "steps": 500}
            run = Run(data, method, seed, "MAF", "vectors", facts=facts)
            both = (Score(metric, sign * value, "test"), Score(metric, 9.0, "val"))
            scores.write(Result(run, both), folder / "results")
    if rows:
        files.write_json(
            folder / "student" / "config.json", {"data": {"args": {"rows": rows}}}
        )
    return folder


def test_gains_are_paired_by_seeds_and_judged_by_their_intervals(tmp_path):
    found = maps.setting(written(tmp_path, LIKELIHOODS, rows=2000))
    assert found.name == "bsds300, MAF, 2,000 rows, 500 steps, 10 of 20 weights"
    assert (found.metric, found.seeds) == ("log_likelihood", 3)
    verdicts = {name: gain.verdict for name, gain in found.gains.items()}
    assert verdicts == {
        "teacher": maps.BETTER,
        "ilkd": maps.BETTER,
        "skd": maps.WORSE,
        "lkd": maps.EQUAL,
    }
    expected = stats.over([1.1, 1.2, 1.0])
    np.testing.assert_allclose(found.gains["ilkd"].interval, expected, atol=1e-9)
    np.testing.assert_allclose(found.gains["ilkd"].share, 3.3 / 13, atol=1e-9)


def test_fewer_bits_are_a_gain(tmp_path):
    folder = written(tmp_path, LIKELIHOODS, "bits_per_dim", sign=-1)
    found = maps.setting(folder)
    assert found.metric == "bits_per_dim"
    np.testing.assert_allclose(found.gains["ilkd"].interval.mean, 1.1, atol=1e-9)
    assert found.gains["skd"].verdict == maps.WORSE


def test_another_method_can_stand_in_the_plain_students_place(tmp_path):
    found = maps.setting(written(tmp_path, LIKELIHOODS), against="ilkd")
    np.testing.assert_allclose(found.gains["student"].interval.mean, -1.1, atol=1e-9)
    assert found.gains["student"].verdict == maps.WORSE


def test_one_seed_tells_nothing_apart(tmp_path):
    one = {name: values[:1] for name, values in LIKELIHOODS.items()}
    found = maps.setting(written(tmp_path, one))
    assert {gain.verdict for gain in found.gains.values()} == {maps.EQUAL}


def test_the_command_writes_picture_table_and_numbers(tmp_path, capsys):
    first = written(tmp_path / "one", LIKELIHOODS)
    few = {name: LIKELIHOODS[name] for name in ("student", "teacher", "ilkd")}
    second = written(tmp_path / "two", few, data="gas")
    out = tmp_path / "map"
    assert maps.main([str(first), str(second), f"--out={out}"]) == 0
    text = (out / "map.md").read_text()
    assert text in capsys.readouterr().out
    assert "**+1.10 ± 0.25 (25 %)** +" in text
    assert "**-0.500 ± 0.248 (-12 %)** -" in text
    assert "+0.03 ± 2" in text
    found = json.loads((out / "map.json").read_text())["settings"]
    assert [each["name"].split(",")[0] for each in found] == ["bsds300", "gas"]
    assert found[0]["gains"]["skd"]["verdict"] == maps.WORSE
    with Image.open(out / "map.png") as picture:
        shown = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in ((0, 114, 178), (213, 94, 0), (221, 221, 221)):
        assert (shown == color).all(1).any(), color


def test_what_is_no_study_is_refused(tmp_path, capsys):
    alone = written(tmp_path / "one", {"student": (1.0, 2.0)})
    with pytest.raises(ConfigError, match=r"results of \['student'\]; expected"):
        maps.setting(alone)
    assert maps.main([str(tmp_path / "none"), f"--out={tmp_path / 'map'}"]) == 2
    assert "none is not a directory" in capsys.readouterr().err
