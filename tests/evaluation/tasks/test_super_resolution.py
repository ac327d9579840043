"""Super-resolution: tables of stored scores by hand, whole studies, samples.

In what is stored LPIPS of the teacher is 0.2 and 0.4 on the two images, of v1 0.23 and
0.40 in one run, 0.21 and 0.44 in the other; PSNR is 20 + 10 times as much, diversity a
tenth.
"""

import math
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from fdnf.evaluation.core import stored
from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.pictures import grids, strips
from fdnf.evaluation.scorers import fidelity
from fdnf.evaluation.tables import view
from fdnf.evaluation.tasks import super_resolution
from fdnf.flows.srflow import SRFlow
from fdnf.students.rrdb import RRDBNet
from fdnf.train.settings import ConfigError
from tests.evaluation import sr_pair, whole
from tests.evaluation.tables import cells

STORED = pathlib.Path(__file__).parents[1] / "core" / "stored" / "super_resolution"


@pytest.fixture
def results():
    return stored.read(STORED)


def _page(results):
    return view.page(super_resolution.TASK.views, results)


def test_quality(results):
    table = _page(results)[0]
    assert table.title == "set: B ×4"
    rows = cells.by_row(table)
    assert list(rows) == ["Bicubic", "RRDB", "SRFlow", "Student v1"]
    # Half of t of one degree of freedom times the difference of the two.
    half = stats.t.ppf(0.975, 1) * 1.0
    assert rows["Bicubic"]["PSNR (dB) ↑"] == f"23.00 ± {half:.2f}"
    assert rows["Bicubic"]["Param. (M)"] == rows["Bicubic"]["Time (ms)"] == "-"
    assert rows["SRFlow"]["LPIPS alex ↓"] == f"0.3000 ± {half / 10:.4f}"
    assert rows["SRFlow"]["Param. (M)"] == "2.50"
    assert rows["SRFlow"]["Time (ms)"] == "40.0 (39.0-41.0)"
    # Runs are averaged first: 0.22 and 0.42.
    assert rows["Student v1"]["LPIPS alex ↓"] == f"0.3200 ± {half / 10:.4f}"
    # An image is given back to the last bit.
    assert rows["RRDB"]["PSNR (dB) ↑"] == "25.00 (n=1) (1 of 2)"
    assert (rows["RRDB"]["Exploded ↓"], rows["SRFlow"]["Exploded ↓"]) == ("2", "-")
    notes = " ".join(table.notes)
    for said in ("over 2 images", "8-bit RGB", "DIV2K", "64x64", "14079cc0", "subset"):
        assert said in notes
    assert "SSIM ↑" not in table.header


def test_over_seeds(results):
    table = _page(results)[1]
    half = stats.t.ppf(0.975, 1) * 0.005
    assert cells.by_row(table)["Student v1"]["LPIPS alex ↓"] == f"0.3200 ± {half:.4f}"
    # Of one run each there is nothing to say over runs.
    single = [r for r in results if r.run.seed == 0]
    assert not [t for t in _page(single) if "over seeds" in t.title]


def test_differences_are_paired_by_image(results):
    (table,) = view.build(super_resolution.DIFFERENCES, results)
    row = cells.by_row(table)["Student v1"]
    assert (row["Split"], row["LPIPS alex ↓"]) == ("B", "+0.0200 ± 0.0000 *")
    one = [r for r in results if (r.run.method, r.run.seed) != ("v1", 1)]
    (table,) = view.build(super_resolution.DIFFERENCES, one)
    # 0.03 and 0.
    half = stats.t.ppf(0.975, 1) * 0.015
    found = cells.by_row(table)["Student v1"]["LPIPS alex ↓"]
    assert found == f"+0.0150 ± {half:.4f}"
    # On one image RRDB is infinite.
    assert cells.by_row(table)["RRDB"]["LPIPS alex ↓"] == "+0.3000 (n=1) (1 of 2)"


def test_in_short(results):
    (table,) = view.build(super_resolution.SHORT, results)
    row = cells.by_row(table)["Student v1"]
    assert list(row.values()) == ["+6.7 ± 0.0 *", "1.07x", "0.50x", "0.25x"]
    assert list(row) == [
        *("LPIPS, change (%) ↓", "Diversity, share", "Time, share ↓"),
        "of the unfolded teacher's ↓",
    ]
    students = [r for r in results if r.run.method == "v1"]
    assert not view.build(super_resolution.SHORT, students)


def test_a_student_that_is_its_teacher(results):
    (teacher,) = (r for r in results if r.run.method == "teacher")
    twin = teacher._replace(run=teacher.run._replace(method="twin", label="twin"))
    (table,) = view.build(super_resolution.SHORT, [teacher, twin])
    found = list(cells.by_row(table)["twin"].values())
    assert found == ["0.0 ± 0.0", "1.00x", "1.00x", "0.50x"]


def test_speed(results):
    (table,) = view.build(super_resolution.SPEED, results)
    rows = cells.by_row(table)
    assert list(rows) == ["RRDB", "SRFlow", "Student v1"]
    assert list(rows["SRFlow"].values()) == [
        *("40.0 (39.0-41.0)", "80.0 (79.0-81.0)", "1.00x", "2.00x")
    ]
    assert list(rows["Student v1"].values()) == [
        *("20.0 (19.0-22.0)", "-", "2.00x", "4.00x")
    ]
    untimed = [
        r._replace(scores=tuple(s for s in r.scores if s.metric != "upscaling_ms"))
        for r in results
    ]
    assert not view.build(super_resolution.SPEED, untimed)


def test_several_benchmarks_and_networks(results):
    """Sizes and times stand beside the scores of each benchmark."""
    more = [
        r._replace(
            scores=(
                *r.scores,
                *(s._replace(split="C") for s in r.scores if s.split == "B"),
            )
        )
        for r in results
    ]
    first, second = view.build(super_resolution.QUALITY, more)
    assert (first.title, second.title) == ("set: B ×4", "set: C ×4")
    assert first.rows == second.rows
    (short,) = view.build(super_resolution.SHORT, more)
    assert "C LPIPS, change (%) ↓" in short.header
    # A distance by other weights than LPIPS's does not bear its name.
    other = Score("pdist", 0.5, "B", features="vgg16@00000000", item="a")
    found = [results[0]._replace(scores=(other,))]
    (table,) = view.build(super_resolution.QUALITY._replace(needs=()), found)
    assert "Perceptual distance vgg16 ↓" in table.header
    assert "LPIPS" not in " ".join(table.header)
    assert "vgg16: over the features vgg16@00000000." in table.notes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"values": 3}, "AttributeError"),
        ({"exploded": "many"}, "many"),
        ({"values": {"B": {"psnr": {"a": "good"}}}}, "'good'"),
    ],
)
def test_a_file_of_another_kind(change, says, tmp_path):
    import json

    (path,) = (STORED / "teacher").rglob("*.json")
    found = json.loads(path.read_text()) | change
    (tmp_path / path.name).write_text(json.dumps(found))
    with pytest.raises(ValueError, match="evaluate that run again") as error:
        stored.read(tmp_path)
    assert says in str(error.value)


def test_what_is_read(results):
    teacher = next(r for r in results if r.run.method == "teacher")
    assert teacher.run[:6] == (
        *("set", "teacher", 0, "SRFlow", "super_resolution", "SRFlow"),
    )
    assert teacher.get("upscaling_ms", given="unfolded").low == 79.0
    rrdb = next(r for r in results if r.run.method == "pretrained")
    assert math.isinf(rrdb.get("psnr", item="b").value)
    assert next(r for r in results if r.run.method == "v1").run.label == "Student v1"


@pytest.fixture
def drawn(monkeypatch):
    """What goes into the pictures, by file name."""
    found = {}

    def draw(rows, path, **options):
        found[path.name] = rows
        return original(rows, path, **options)

    original = grids.draw
    monkeypatch.setattr(grids, "draw", draw)
    return found


def test_a_study(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(fidelity, "judge_of", lambda _: sr_pair.judge())
    models = {
        "pretrained": sr_pair.trained(1.0, flow=sr_pair.Plain()),
        "teacher": sr_pair.trained(0.1, 0.2),
        "twin": sr_pair.trained(0.1, 0.2),
    }
    section = models["teacher"].config.eval
    text = whole.of(tmp_path, models, sr_pair.data(), section)
    assert (tmp_path / "table.md").read_text() == text
    assert "tabular" in (tmp_path / "table.tex").read_text()
    found = {(r.run.method, r.run.seed): r for r in stored.read(tmp_path / "results")}
    assert found.keys() == {
        *(("bicubic", 0), ("pretrained", 0)),
        *((method, seed) for method in ("teacher", "twin") for seed in (0, 1)),
    }
    assert {r.run.kind for r in found.values()} == {"super_resolution"}
    teacher, twin = found["teacher", 0], found["twin", 0]
    assert teacher.run.facts["parameters"] == 1
    (table,) = view.build(super_resolution.SHORT, list(found.values()))
    row = cells.by_row(table)["Student twin"]
    assert row["even Distance, change (%) ↓"] == "0.0 ± 0.0"
    assert row["odd Diversity, share"] == "1.00x"
    assert twin.get("psnr") == teacher.get("psnr")
    for time in (twin.get("upscaling_ms"), teacher.get("upscaling_ms")):
        assert 0 < time.value
    with Image.open(tmp_path / "figures" / "odd.png") as picture:
        assert min(picture.size) > strips.DRAWN
    (line,) = drawn["odd.png"].values()
    assert list(line) == [
        *("low resolution", "bicubic", "Student pretrained"),
        *("Student teacher, sample 1", "Student teacher, sample 2"),
        *("Student twin, sample 1", "Student twin, sample 2", "high resolution"),
    ]
    np.testing.assert_array_equal(
        line["Student teacher, sample 2"], line["Student twin, sample 2"]
    )
    first, second = (line[f"Student teacher, sample {i}"] for i in (1, 2))
    assert (first != second).any()


def test_without_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(fidelity.lpips.weight_files, "installed", lambda *_: None)
    models = {"teacher": sr_pair.trained(0.1), "student": sr_pair.trained(0.1)}
    section = models["teacher"].config.eval
    section.update(strips=0, time_repeats=0)
    text = whole.of(tmp_path, models, sr_pair.data(), section)
    assert "LPIPS and diversity are not taken: alexnet needs its weights" in text
    assert "LPIPS alex" not in text
    assert not list((tmp_path / "figures").iterdir())
    with pytest.raises(ConfigError, match="names of baselines"):
        whole.of(tmp_path, {"bicubic": models["teacher"]}, sr_pair.data(), section)


def test_labels():
    model = sr_pair.trained(0.1)
    found = [super_resolution.label(model, m) for m in ("v1", "srflow_student_l1")]
    assert found == ["Student v1", "SRFlow student l1"]
    # The flow and what stands before it are known by their kind.
    flow = model._replace(flow=SRFlow(scale=4))
    assert super_resolution.label(flow, "teacher") == "SRFlow"
    rrdb = model._replace(flow=RRDBNet(scale=4))
    assert super_resolution.label(rrdb, "pretrained") == "RRDB"


def test_samples_of_every_run(tmp_path, drawn, monkeypatch):
    student, teacher = sr_pair.trained(0.1, 0.2), sr_pair.trained(0.1)
    student.config.label = "v1"
    monkeypatch.setattr(super_resolution.datasets, "build", lambda _: sr_pair.data())
    monkeypatch.setattr(super_resolution.context, "teacher_of", lambda *_: teacher)
    monkeypatch.setattr(
        super_resolution,
        "label",
        lambda model, method: method if model is student else "SRFlow",
    )
    paths = super_resolution.sample(student, tmp_path, 7)
    names = ["run_0_even.png", "run_0_odd.png", "run_1_even.png", "run_1_odd.png"]
    assert [path.name for path in paths] == names
    assert {path.parent for path in paths} == {tmp_path / "samples"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)
    (first,), (second,) = (drawn[f"run_{r}_odd.png"].values() for r in (0, 1))
    ours, theirs = "v1, sample 1", "SRFlow, sample 1"
    np.testing.assert_array_equal(first[ours], first[theirs])
    assert (second[ours] != second[theirs]).any()
    assert (second[theirs] != first[theirs]).any()


def test_points_that_start_from_one_model(tmp_path):
    """Each has been evaluated beside it; it is one row, of the first."""
    for method in ("pretrained", "bicubic"):
        for point in ("a", "b"):
            shutil.copytree(STORED / method, tmp_path / point / "results" / method)
    (other,) = (tmp_path / "b" / "results" / "pretrained").rglob("*.json")
    other.write_text(other.read_text().replace("25.0", "26.0"))
    rows = cells.by_row(_page(stored.read(tmp_path))[0])
    assert list(rows) == ["Bicubic", "RRDB"]
    assert rows["RRDB"]["PSNR (dB) ↑"] == "25.00 (n=1) (1 of 2)"
    shutil.copytree(STORED / "teacher", tmp_path / "a" / "results" / "teacher")
    shutil.copytree(STORED / "teacher", tmp_path / "b" / "results" / "teacher")
    with pytest.raises(ValueError, match="both hold SRFlow set teacher seed 0"):
        stored.read(tmp_path)
