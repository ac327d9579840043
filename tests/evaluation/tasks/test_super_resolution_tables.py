"""Tables of super-resolution: means, differences and shares of stored scores by hand.

LPIPS of the teacher is 0.2 and 0.4 on the two images, of v1 0.23 and 0.40 in one run,
0.21 and 0.44 in the other; PSNR is 20 + 10 times as much, diversity a tenth.
"""

import math
import pathlib

import pytest
from scipy import stats

from fdnf.evaluation.core import stored
from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.tables import view
from fdnf.evaluation.tasks import super_resolution
from tests.evaluation.tables import cells

STORED = pathlib.Path(__file__).parents[1] / "core" / "stored" / "super_resolution"


@pytest.fixture
def results():
    return stored.read(STORED)


def _page(results):
    return view.page(super_resolution.VIEWS, results)


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
