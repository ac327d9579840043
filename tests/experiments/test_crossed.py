"""Teachers of all kinds by students of all kinds."""

import json
import pathlib
import re

import numpy as np
import pytest

from fdnf import fitting
from fdnf.evaluation.core import stats
from fdnf.experiments import crossed
from fdnf.experiments.crossed import Budget, Kind
from fdnf.flows.affine import Affine
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.train.rules import ConfigError

TINY = {
    "maf": Kind(MAF(2, (4,)), MAF(1, (4,))),
    "nice": Kind(NICE(8, (4,)), NICE(4, (4,))),
    "iaf": Kind(None, IAF(1, (4,))),
    "affine": Kind(Affine(), Affine("normal")),
}
WORDS = ["--data=synthetic", '--args={"dim": 3, "rows": 60}', "--steps=2", "--runs=2"]


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(crossed, "KINDS", TINY)


class Fake:
    """Trained in no time, as good as its name says."""

    def __init__(self, flow, value):
        self.flow, self.value, self.runs = flow, value, 2

    def log_prob(self, rows, run):
        return self.value + run + np.zeros(len(rows))


def fit(flow, x, workdir, **how):
    return Fake(
        flow, {"teacher": 9.0, "student": 3.0}[pathlib.Path(workdir).parent.name]
    )


def distil(teacher, flow, x, workdir, method, **how):
    if isinstance(flow, NICE) and method == "ilkd":
        raise ConfigError("more levels\nthan the teacher has")
    # The teacher of another kind teaches its students nothing.
    same = type(teacher.flow) is type(flow)
    return Fake(flow, 5.0 if same else 3.0)


def test_gains_are_over_the_student_alone_and_refusals_say_why(
    tiny, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(fitting, "fit", fit)
    monkeypatch.setattr(fitting, "distil", distil)
    words = [*WORDS, f"--out={tmp_path}", "--kinds=maf,nice,iaf"]
    assert crossed.main([*words, "--methods=ilkd,samples,x"]) == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["alone"]["teacher maf"] == [9.0, 10.0]
    assert "teacher iaf" not in found["alone"]
    assert found["taught"]["maf maf ilkd"] == [5.0, 6.0]
    assert found["refused"] == {
        "maf nice ilkd": "more levels than the teacher has",
        "nice nice ilkd": "more levels than the teacher has",
        **{
            f"{teacher} iaf {method}": "a density is slow: it learns by x or guided"
            for teacher in ("maf", "nice")
            for method in ("ilkd", "samples")
        },
    }
    # Students with a density do not learn by x.
    assert set(found["taught"]) == {
        *("maf maf ilkd", "nice maf ilkd", "maf maf samples", "maf nice samples"),
        *("nice maf samples", "nice nice samples", "maf iaf x", "nice iaf x"),
    }
    text = (tmp_path / "table.md").read_text()
    assert text in capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith(("| maf", "| nice"))
    ]
    better, same = "**+2.00 ± 0.00**", "+0.00 ± 0.00"
    assert ["maf", better, "refused", "refused"] in rows  # by ilkd
    assert ["maf", better, same, "refused"] in rows  # by samples
    assert ["nice", same, better, "refused"] in rows
    assert "maf to nice by ilkd, nice to nice by ilkd" in text


def test_one_pair_is_trained_and_kept(tiny, tmp_path):
    words = [*WORDS, f"--out={tmp_path}", "--kinds=affine", "--methods=ilkd"]
    assert crossed.main(words) == 0
    text = (tmp_path / "table.md").read_text()
    found = json.loads((tmp_path / "scores.json").read_text())
    got, base = found["taught"]["affine affine ilkd"], found["alone"]["student affine"]
    interval = stats.over(np.subtract(got, base))
    assert f"{interval.mean:+.2f} ± {interval.half_width:.2f}" in text
    kept = fitting.load(tmp_path / "taught" / "affine" / "affine" / "ilkd")
    assert kept.runs == 2
    assert kept.flow == TINY["affine"].student


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--kinds=mfa"], r"unknown \['mfa'\]; known: maf"),
        (["--methods=lkd,y"], r"unknown \['y'\]; known: lkd"),
        (["--data=digits_8x8"], "digits_8x8"),
        (["--args={"], "JSONDecodeError"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(words, match, tmp_path, capsys):
    assert crossed.main([*words, f"--out={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert re.search(match, said)


def test_kinds_are_flows_of_which_students_are_smaller():
    for name, (teacher, student) in crossed.KINDS.items():
        if teacher is not None and student is not None:
            assert type(teacher) is type(student), name
            sizes = [
                getattr(f, "blocks", getattr(f, "steps", 0)) for f in (student, teacher)
            ]
            assert 0 < sizes[0] < sizes[1], name
    assert set(crossed.SAMPLERS) < set(crossed.METHODS)
    assert Budget().runs > 1
