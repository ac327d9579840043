"""Whole reports of super-resolution: files, pictures, and the command's samples."""

import json

import numpy as np
import pytest
from PIL import Image

from fdnf.evaluation.core import sr_records
from fdnf.evaluation.models import upscaler as upscalers
from fdnf.evaluation.models.upscaler import Upscaler
from fdnf.evaluation.pictures import grids, strips
from fdnf.evaluation.scorers import sr_judge
from fdnf.evaluation.tasks import sr_report, sr_sampling
from fdnf.ops import resize
from fdnf.train.settings import ConfigError
from tests.evaluation import sr_pair


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
    monkeypatch.setattr(sr_judge, "of", lambda _: sr_pair.judge())
    trained = {
        "pretrained": sr_pair.trained(1.0, flow=sr_pair.Plain()),
        "teacher": sr_pair.trained(0.1, 0.2),
        "twin": sr_pair.trained(0.1, 0.2),
    }
    evaluation = trained["teacher"].config.eval
    text = sr_report.report(tmp_path, trained, sr_pair.data(), evaluation)
    assert (tmp_path / "table.md").read_text() == text
    assert "tabular" in (tmp_path / "table.tex").read_text()
    found = sr_records.read(tmp_path / "results")
    assert {(r.method, r.seed) for r in found} == {
        *(("bicubic", 0), ("pretrained", 0)),
        *((method, seed) for method in ("teacher", "twin") for seed in (0, 1)),
    }
    short = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert [(s["student"], s["benchmark"]) for s in short] == [
        *(("twin", "even"), ("twin", "odd"))
    ]
    for one in short:
        assert one["distance_percent"]["mean"] == 0.0
        assert one["diversity_ratio"] == 1.0
        assert one["time_ratio"] > 0
    assert [line[2:9] for line in text.splitlines()[4:8]] == [
        *("Bicubic", "RRDB   ", "SRFlow ", "Student")
    ]
    with Image.open(tmp_path / "figures" / "odd.png") as picture:
        assert min(picture.size) > strips.DRAWN
    (line,) = drawn["odd.png"].values()
    assert list(line) == [
        *("low resolution", "bicubic", "RRDB", "SRFlow, sample 1", "SRFlow, sample 2"),
        *("Student twin, sample 1", "Student twin, sample 2", "high resolution"),
    ]
    np.testing.assert_array_equal(
        line["SRFlow, sample 2"], line["Student twin, sample 2"]
    )
    assert (line["SRFlow, sample 1"] != line["SRFlow, sample 2"]).any()


def test_without_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(sr_judge.lpips.weight_files, "installed", lambda *_: None)
    trained = {"teacher": sr_pair.trained(0.1), "student": sr_pair.trained(0.1)}
    evaluation = trained["teacher"].config.eval
    evaluation.update(strips=0, time_repeats=0)
    text = sr_report.report(tmp_path, trained, sr_pair.data(), evaluation)
    assert "LPIPS and diversity are not taken: lpips_alex needs weights" in text
    assert not (tmp_path / "figures").exists()
    (first, _) = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert first["distance_percent"] is first["time_ratio"] is None
    with pytest.raises(ConfigError, match="baseline's name"):
        sr_report.report(
            tmp_path, {"bicubic": trained["teacher"]}, sr_pair.data(), evaluation
        )


def test_panels_are_of_one_place(drawn, tmp_path):
    rng = np.random.default_rng(0)
    data = sr_pair.data()
    # Flat but for one corner.
    hr = np.full((64, 80, 3), 90, np.uint8)
    hr[40:56, 60:76] = rng.integers(0, 256, (16, 16, 3))
    lr = resize.downscale_uint8(hr, 4)
    benchmark = data.test[0]._replace(names=("one",), hr=(hr,), lr=(lr,))
    small = data.test[1]
    both = benchmark._replace(
        names=("one", small.names[0]),
        hr=(hr, small.hr[0][:16, :16]),
        lr=(lr, small.lr[0][:4, :4]),
    )
    upscaler: Upscaler = upscalers.of(sr_pair.trained(0.0))
    paths = strips.draw(
        tmp_path,
        {"m": upscaler},
        data._replace(test=(both,)),
        strips=5,
        temperature=1.0,
        prefix="p_",
    )
    assert [path.name for path in paths] == ["p_even.png"]
    line = drawn["p_even.png"]["one"]
    np.testing.assert_array_equal(line["high resolution"][0], hr[40:56, 60:76])
    seen = line["low resolution"][0]
    np.testing.assert_array_equal(seen[::4, ::4], lr[10:14, 15:19])
    # What repeats pixels gives the low resolution, wherever its window began.
    np.testing.assert_array_equal(line["m, sample 1"][0], seen)
    bicubic = resize.upscale_uint8(lr, 4)[40:56, 60:76]
    np.testing.assert_array_equal(line["bicubic"][0], bicubic)


def test_images_shown_are_spread():
    assert strips.spread(5, 2) == [0, 4]
    assert strips.spread(9, 3) == [0, 4, 8]
    assert strips.spread(2, 6) == [0, 1]


def test_the_liveliest_window():
    image = np.zeros((20, 24, 3), np.uint8)
    image[9:13:2, 14:18] = 255
    assert strips.liveliest(image, 8, 4) in {(4, 8), (8, 8), (8, 12), (4, 12)}
    assert strips.liveliest(image, 20, 4) == (0, 0)
    assert strips.liveliest(image.astype(float), 4, 4)[1] in (12, 16)


def test_samples_of_every_run(tmp_path, drawn):
    student = sr_pair.trained(0.1, 0.2)
    student.config.label = "v1"
    others = {"teacher": sr_pair.trained(0.1)}
    paths = sr_sampling.write(student, sr_pair.data(), tmp_path, 7, others)
    names = ["run_0_even.png", "run_0_odd.png", "run_1_even.png", "run_1_odd.png"]
    assert [path.name for path in paths] == names
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)
    (first,), (second,) = (drawn[f"run_{r}_odd.png"].values() for r in (0, 1))
    ours, theirs = "Student v1, sample 1", "SRFlow, sample 1"
    np.testing.assert_array_equal(first[ours], first[theirs])
    assert (second[ours] != second[theirs]).any()
    assert (second[theirs] != first[theirs]).any()
