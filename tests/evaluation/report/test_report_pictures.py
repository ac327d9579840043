"""Which pictures a report shows."""

import io
import pathlib

import numpy as np
from PIL import Image

from fdnf.evaluation.report import report_pictures
from fdnf.evaluation.report.report_runs import Run


def run(folder, method, seed=0):
    return Run("MAF", "bsds300", method, seed, method, folder, 0, {}, None, None)


def draw(path, width=800):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (width // 2, width, 4))
    Image.fromarray(noise.astype(np.uint8)).save(path)


def folds(runs, root):
    problems = []
    found, told = report_pictures.folds(runs, root, problems)
    return [[p.caption for p in fold.blocks] for fold in found], told, problems, found


def test_first_seed_of_each_method(tmp_path):
    runs = []
    for method in ("ilkd", "teacher"):
        for seed in (1, 0):
            folder = tmp_path / f"{method}{seed}"
            runs.append(run(folder, method, seed))
            for name in ("marginals", "patches", "training"):
                draw(folder / "figures" / f"{name}.png", 40)
    captions, _, problems, _ = folds(runs, tmp_path)
    assert captions == [
        [
            *("Teacher, seed 0, patches", "Teacher, seed 0, marginals"),
            *("ILKD, seed 0, patches", "ILKD, seed 0, marginals"),
        ]
    ]
    assert problems == []


def test_pictures_are_made_small(tmp_path):
    draw(tmp_path / "a/figures/patches.png")
    *_, found = folds([run(tmp_path / "a", "teacher")], tmp_path)
    (picture,) = found[0].blocks
    assert picture.size == (640, 320)
    with Image.open(io.BytesIO(picture.data)) as image:
        assert (image.format, image.size) == ("JPEG", picture.size)


def test_every_method_comes_before_a_second_picture(tmp_path, monkeypatch):
    runs = []
    for method in ("student", "teacher"):
        runs.append(run(tmp_path / method, method))
        for name in ("marginals", "patches"):
            draw(tmp_path / method / "figures" / f"{name}.png", 200)
    _, _, _, whole = folds(runs, tmp_path)
    spent = sum(len(picture.data) for picture in whole[0].blocks)
    monkeypatch.setattr(report_pictures, "BUDGET", spent // 2 + 10)
    captions, told, _, _ = folds(runs, tmp_path)
    assert captions == [["Teacher, seed 0, patches", "Student, seed 0, patches"]]
    assert "Of 4 of them 2 are left out" in told


def test_study_has_its_pictures_beside_its_runs(tmp_path):
    draw(tmp_path / "figures/samples_t1.0.png", 40)
    runs = [run(tmp_path / name, name) for name in ("teacher", "student")]
    captions, *_ = folds(runs, tmp_path)
    assert captions == [["samples t1.0"]]


def test_broken_picture_is_named(tmp_path):
    path = pathlib.Path(tmp_path / "a/figures/patches.png")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    captions, _, problems, _ = folds([run(tmp_path / "a", "teacher")], tmp_path)
    assert captions == []
    assert problems[0].startswith("a/figures/patches.png: not shown")
