"""Means, differences and ratios of super-resolution by hand, and their tables."""

import math

import numpy as np
import pytest
from scipy import stats

from fdnf.evaluation.core.sr_records import Record
from fdnf.evaluation.tables import sr_cells, sr_summary, sr_table
from tests import floats

TEACHER = {"a": 0.2, "b": 0.4}


def record(method="x", seed=0, distance=None, **fields):
    """One run on benchmark B, of two images unless told otherwise."""
    distance = TEACHER if distance is None else distance
    values = {
        "psnr": {name: 20.0 + 10 * v for name, v in distance.items()},
        "lpips_alex": distance,
        "diversity": {name: v / 10 for name, v in distance.items()},
    }
    values |= fields.pop("values", {})
    usual = {
        "source": "a subset of photographs",
        "perceptual": "lpips_alex",
        "settings": {"temperature": 0.9, "images": 0, "samples": 8, "sample_crop": 64},
        "parameters": 2_500_000,
        "time_ms": (20.0, 19.0, 22.0),
        "timed": "a of B, 8x8 to 32x32 pixels",
    }
    return Record("set", method, seed, 4, {"B": values}, **(usual | fields))


def records():
    return [
        record("bicubic", parameters=None, time_ms=None, settings={}),
        record("teacher", time_ms=(40.0, 39.0, 41.0), unfolded_ms=(80.0, 79.0, 81.0)),
        record("v1", 0, {"a": 0.23, "b": 0.40}),
        record("v1", 1, {"a": 0.21, "b": 0.44}),
    ]


def test_means_by_hand():
    groups = sr_summary.by_method(records()[::-1])
    assert list(groups) == ["bicubic", "teacher", "v1"]
    found = sr_summary.mean(groups["v1"], "B", "lpips_alex")
    # Images: 0.22 and 0.42; runs: 0.315 and 0.325.
    floats.assert_close(found.mean, 0.32)
    floats.assert_close(found.standard_error, 0.1)
    assert (found.images, found.runs.n) == (2, 2)
    half = stats.t.ppf(0.975, 1) * 0.005
    floats.assert_close(found.runs.half_width, half)
    single = sr_summary.mean(groups["teacher"], "B", "psnr")
    floats.assert_close(single.mean, 23.0)
    assert single.runs.half_width is None
    assert sr_summary.mean(groups["teacher"], "B", "ssim") is None


def test_differences_are_paired_by_image():
    _, teacher, *students = records()
    gap = sr_summary.difference(students, [teacher], "B", "lpips_alex")
    np.testing.assert_allclose((gap.mean, gap.n), (0.02, 2), atol=1e-12)
    np.testing.assert_allclose(gap.half_width, 0.0, atol=1e-12)
    one = sr_summary.difference(students[:1], [teacher], "B", "lpips_alex")
    half = stats.t.ppf(0.975, 1) * np.std([0.03, 0.0], ddof=1) / math.sqrt(2)
    floats.assert_close((one.mean, one.half_width), (0.015, half))
    odd = record("v1", 0, {"a": math.inf, "b": 0.5})
    gap = sr_summary.difference([odd], [teacher], "B", "lpips_alex")
    assert (gap.n, gap.half_width) == (1, None)
    assert sr_summary.difference([odd], [teacher], "C", "psnr") is None


def test_summary_by_hand():
    (found,) = sr_summary.summaries(records())
    assert (found.student, found.benchmark) == ("v1", "B")
    floats.assert_close(found.distance_percent.mean, 100 * 0.02 / 0.3)
    floats.assert_close(found.diversity_ratio, 0.32 / 0.3)
    assert (found.time_ratio, found.unfolded_time_ratio) == (0.5, 0.25)
    assert found.to_plain()["distance_percent"]["n"] == 2
    assert sr_summary.summaries(records()[2:]) == []


def test_a_student_that_is_its_teacher():
    teacher = record("teacher")
    (found,) = sr_summary.summaries([teacher, record("twin")])
    assert found.distance_percent == (0.0, 0.0, 2)
    assert found[3:] == (1.0, 1.0, 1.0)


def cells(text, label):
    line = next(k for k in text.splitlines() if k.startswith(f"| {label}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables():
    text = sr_table.page(records())
    assert "### set: B ×4, 2 images" in text
    assert cells(text, "Models")[:3] == ["Models ×4", "PSNR ↑", "SSIM ↑"]
    bicubic, teacher = cells(text, "Bicubic"), cells(text, "SRFlow")
    assert bicubic[1] == "23.00 ± 1.00"
    assert bicubic[2] == bicubic[5] == bicubic[6] == "-"
    assert teacher[3] == "0.3000 ± 0.1000"
    assert teacher[5:7] == ["2.50", "40.0 (39.0-41.0)"]
    student = cells(text, "Student v1")
    assert student[3] == "0.3200 ± 0.1000 (runs ± 0.0635)"
    short = next(k for k in text.splitlines() if "| 1.07" in k)
    assert "+6.7 ± 0.0 *" in short
    assert "| 0.50 " in short
    assert "| 0.25 " in short
    assert cells(text, "SRFlow, as trained")[2:] == ["0.5", "1.0"]
    assert cells(text, "SRFlow, folded")[1] == "40.0 (39.0-41.0)"
    for note in ("Data: a subset of photographs.", "8-bit RGB", "DIV2K", "64x64"):
        assert note in text
    tex = sr_table.latex(records())
    assert r"PSNR $\uparrow$" in tex
    assert "↑" not in tex


def test_notes_say_what_is_missing():
    weak = {"psnr": {"a": math.inf, "b": 20.0}, "lpips_alex": {"b": 0.1}}
    text = sr_table.page([record("teacher", values=weak, exploded=2)])
    assert "SRFlow seed 0: 2" in text
    assert "(SRFlow, B)" in text
    assert "too small for the perceptual distance: 1 of B" in text
    assert cells(text, "SRFlow")[1] == "inf"
    settings = {"temperature": 0.9, "images": 2, "samples": 8, "sample_crop": 0}
    text = sr_table.page([record("teacher", settings=settings, time_ms=None)])
    assert "first 2 images" in text
    assert "whole image" in text
    assert "speed" not in text


def test_a_table_without_weights():
    bare = record("teacher", perceptual=None, notes=("LPIPS is not taken",))
    text = sr_table.page([bare, record("student", perceptual=None)])
    assert cells(text, "SRFlow")[3] == "-"
    assert "- LPIPS is not taken" in text
    other = record("teacher", perceptual="pdist_vgg16@00000000")
    assert "pdist_vgg16@00000000 ↓" in sr_table.page([other])


def test_labels():
    assert [sr_cells.label(m) for m in ("pretrained", "teacher", "v1")] == [
        *("RRDB", "SRFlow", "Student v1")
    ]
    assert sr_cells.label("srflow_student_l1") == "SRFlow student l1"


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="one set and scale"):
        sr_table.page([])
