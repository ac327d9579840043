"""Curves of small logs."""

import json
import math
import pathlib
import xml.etree.ElementTree as xml

import numpy as np

from fdnf.evaluation.report import report_curves
from fdnf.evaluation.report.report_runs import Run


def run(folder, method="student", seed=0, data="bsds300", config=None):
    place = folder, seed, config or {}, None, None
    return Run("MAF", data, method, seed, method, *place)


def log(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "log.jsonl").write_text(text)


def rows(steps=40, runs=2, **extra):
    return [
        {"step": step, "nll": [5.0 - step / 10] * runs, **extra}
        | ({"val_log_prob": [step / 10] * runs} if step % 2 == 0 else {})
        for step in range(1, steps + 1)
    ]


def test_one_figure_a_data_set(tmp_path):
    log(tmp_path / "a", rows())
    log(tmp_path / "b", rows(runs=1))
    runs = [run(tmp_path / "a", seed=0), run(tmp_path / "a", seed=1)]
    runs += [run(tmp_path / "b", "ilkd w=1"), run(tmp_path / "b", data="power")]
    problems = []
    found = report_curves.pictures(runs, tmp_path, problems)
    assert [picture.title for picture in found] == ["MAF on bsds300", "MAF on power"]
    assert problems == []
    first = found[0]
    assert [label for label, *_ in first.keys] == ["Student", "ilkd w=1"]
    assert "(0, 1)" in first.caption
    svg = first.data.decode()
    assert xml.fromstring(svg).tag.endswith("svg")
    for label in ("training log-likelihood (nats)", "validation log-likelihood (nats)"):
        assert f">{label}<" in svg
    assert ">training step<" in svg
    # Three lines in each of two panels.
    color = {label: color for label, color, _ in first.keys}["Student"].lower()
    assert svg.lower().count(f"stroke: {color}") == 4
    again = report_curves.pictures(runs, tmp_path, [])
    assert [picture.data for picture in again] == [picture.data for picture in found]


def test_a_run_is_its_column_and_diverged_values_are_gaps(tmp_path):
    lines = rows(steps=4)
    lines[1]["nll"] = [None, 2.0]
    lines[2]["nonfinite"] = {"nll/0": "inf"}
    lines[2]["nll"] = [None, 2.0]
    log(tmp_path, lines)
    lines = report_curves.read(tmp_path, pathlib.Path(), [])
    first, second = (report_curves.curve(run(tmp_path, seed=i), lines) for i in (0, 1))
    assert math.isnan(first.train[1])
    assert np.isinf(first.train[2])
    assert second.train[1] == -2.0
    np.testing.assert_array_equal(second.val, [math.nan, 0.2, math.nan, 0.4])
    assert len(report_curves.pictures([run(tmp_path)], tmp_path, [])) == 1


def test_images_are_in_bits(tmp_path):
    lines = [{"step": s, "nll": [3.0], "val_bits_per_dim": [2.0]} for s in (1, 2)]
    log(tmp_path, lines)
    config = {"loss": {"units": "bits_per_dim"}}
    (found,) = report_curves.pictures([run(tmp_path, config=config)], tmp_path, [])
    assert b">training bits/dim<" in found.data
    assert b">validation bits/dim<" in found.data


def test_broken_log_is_named_and_an_absent_one_is_none(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/log.jsonl").write_text("[1]\nnonsense\n")
    problems = []
    runs = [run(tmp_path / "a"), run(tmp_path / "b")]
    assert report_curves.pictures(runs, tmp_path, problems) == []
    assert len(problems) == 1
    assert problems[0].startswith("a/log.jsonl: 2 of 2 lines are no log rows")
