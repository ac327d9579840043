"""Runs and scores, and their files."""

import json
import math

import numpy as np
import pytest

from fdnf import files
from fdnf.evaluation.core import scores, stored
from fdnf.evaluation.core.scores import Result, Run, Score

RUN = Run(
    *("gas", "ilkd", 3, "MAF", "vectors"),
    settings={"hidden": (64, 64), "learn_top": True, "cond": None},
    facts={"parameters": 12, "notes": ("a", "b"), "versions": {"jax": "0.7"}},
)
SCORES = (
    Score("log_likelihood", -1.25, "test", n=10, se=0.5),
    Score("fd", math.inf, "test", "t0.7", "vgg16@2ecbe4ce"),
    Score("psnr", math.nan, "Set5", item="baby"),
    Score("sampling_ms", 2.0, n=8, low=1.0, high=3.0),
)


def test_what_is_written_is_read(tmp_path):
    path = scores.write(Result(RUN, SCORES), tmp_path)
    assert path == tmp_path / "ilkd" / "seed_3" / "result.json"
    (found,) = stored.read(tmp_path)
    assert found.run == RUN
    assert found.scores[:2] + found.scores[3:] == SCORES[:2] + SCORES[3:]
    assert math.isnan(found.scores[2].value)
    assert found.scores[2]._replace(value=0.0) == SCORES[2]._replace(value=0.0)


def test_a_score_is_a_line_without_what_is_usual():
    lines = scores.to_json(Result(RUN, SCORES)).splitlines()
    assert sum('"metric"' in line for line in lines) == len(SCORES)
    assert json.loads(lines[-3]) == {
        **{"metric": "sampling_ms", "value": 2.0, "n": 8, "low": 1.0, "high": 3.0}
    }
    measured = Result(Run("a", "b", np.int64(3)), (Score("mmd", np.float32(0.5)),))
    assert scores.from_json(scores.to_json(measured)) == Result(
        Run("a", "b", 3), (Score("mmd", 0.5),)
    )


@pytest.mark.parametrize(
    ("run", "score", "message"),
    [
        ({"seed": "0"}, {}, "run.seed is '0': expected an integer"),
        ({"seed": -1}, {}, "run.seed is -1"),
        ({"seed": True}, {}, "run.seed is True"),
        ({"arch": None}, {}, "run.arch is None: expected a string"),
        ({"settings": []}, {}, r"run.settings is \[\]: expected an object"),
        ({"surprise": 1}, {}, r"run: .*unknown: \['surprise'\]"),
        ({"data": ...}, {}, r"run: fields missing: \['data'\]"),
        ({}, {"value": "low"}, r"scores\[0\].value is 'low': expected a number"),
        ({}, {"value": True}, r"scores\[0\].value is True"),
        ({}, {"n": 0.5}, r"scores\[0\].n is 0.5: expected an integer"),
        ({}, {"se": {}}, r"scores\[0\].se is {}"),
        ({}, {"metric": ...}, r"scores\[0\]: fields missing: \['metric'\]"),
        ({}, {"over": "x"}, r"scores\[0\]: .*unknown: \['over'\]"),
    ],
)
def test_wrong_fields_are_refused(run, score, message):
    whole = json.loads(scores.to_json(Result(RUN, SCORES[:1])))
    for fields, changes in ((whole["run"], run), (whole["scores"][0], score)):
        for name, value in changes.items():
            fields.pop(name, None)
            if value is not ...:
                fields[name] = value
    with pytest.raises(ValueError, match=message):
        scores.from_json(json.dumps(whole))


@pytest.mark.parametrize("changes", [{"format": 3}, {"scores": {}}, {"more": 1}])
def test_another_form_is_refused(changes):
    whole = json.loads(scores.to_json(Result(RUN, SCORES))) | changes
    with pytest.raises(ValueError, match=r"format 3|expected a list|fields \["):
        scores.from_json(json.dumps(whole))


def test_the_same_said_twice_is_refused(tmp_path):
    twice = Result(RUN, (*SCORES, SCORES[1]._replace(value=1.0)))
    with pytest.raises(ValueError, match="MAF gas ilkd seed 3 has two scores of fd"):
        scores.write(twice, tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_run_twice_is_refused(tmp_path):
    scores.write(Result(RUN, SCORES), tmp_path / "a")
    scores.write(Result(RUN, SCORES), tmp_path / "b")
    with pytest.raises(ValueError, match="both hold MAF gas ilkd seed 3"):
        stored.read(tmp_path)


def test_runs_of_other_settings_are_others(tmp_path):
    scores.write(Result(RUN, SCORES), tmp_path / "a")
    other = RUN._replace(settings={"hidden": (32, 32)})
    scores.write(Result(other, SCORES), tmp_path / "b")
    assert len(stored.read(tmp_path)) == 2


def test_a_baseline_of_several_evaluations_is_one(tmp_path):
    real = Run("gas", "real", kind="images")
    first, second = Score("fd", 1.0, "test"), Score("fd", 2.0, "test", "t0.7")
    scores.write(Result(real, (first,)), tmp_path / "a")
    again = (first._replace(value=9.0), second)
    scores.write(Result(real, again), tmp_path / "b")
    assert stored.read(tmp_path) == [Result(real, (first, second))]


def test_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no result.json under"):
        stored.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a directory"):
        stored.read(tmp_path / "nowhere")


def test_a_broken_file_is_named(tmp_path):
    path = scores.write(Result(RUN, SCORES), tmp_path)
    path.write_text(path.read_text()[:50])
    with pytest.raises(files.DamagedError, match="evaluate that run again") as error:
        stored.read(tmp_path)
    assert str(path) in str(error.value)
