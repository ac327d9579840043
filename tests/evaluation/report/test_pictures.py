"""Which pictures a report shows, and curves of small logs."""

import io
import pathlib
import xml.etree.ElementTree as xml

from PIL import Image

from fdnf.evaluation.core.scores import Run
from fdnf.evaluation.report import pictures
from fdnf.evaluation.report.gather import Point, Trained
from tests.evaluation.report import made
from tests.evaluation.report.made import picture as draw


def run(folder, method, seed=0, data="bsds300", config=None, index=0):
    of = Run(data, method, seed, "MAF", "vectors")
    return Trained(of, (), folder, index, config or {}, Point("p", folder))


def folds(runs, root):
    problems = []
    found, told = pictures.folds(runs, root, problems)
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
    draw(tmp_path / "a/figures/patches.png", 800)
    *_, found = folds([run(tmp_path / "a", "teacher")], tmp_path)
    (shown,) = found[0].blocks
    assert shown.size == (640, 320)
    with Image.open(io.BytesIO(shown.data)) as image:
        assert (image.format, image.size) == ("JPEG", shown.size)


def test_every_method_comes_before_a_second_picture(tmp_path, monkeypatch):
    runs = []
    for method in ("student", "teacher"):
        runs.append(run(tmp_path / method, method))
        for name in ("marginals", "patches"):
            draw(tmp_path / method / "figures" / f"{name}.png", 200)
    _, _, _, whole = folds(runs, tmp_path)
    spent = sum(len(each.data) for each in whole[0].blocks)
    monkeypatch.setattr(pictures, "BUDGET", spent // 2 + 10)
    captions, told, _, _ = folds(runs, tmp_path)
    assert captions == [["Teacher, seed 0, patches", "Student, seed 0, patches"]]
    assert "Of 4 of them 2 are left out" in told


def test_study_has_its_pictures_beside_its_runs(tmp_path):
    draw(tmp_path / "figures/samples_t1.0.png", 40)
    runs = [run(tmp_path / name, name) for name in ("teacher", "student")]
    runs = [each._replace(point=None) for each in runs]
    captions, *_ = folds(runs, tmp_path)
    assert captions == [["samples t1.0"]]


def test_broken_picture_is_named(tmp_path):
    path = pathlib.Path(tmp_path / "a/figures/patches.png")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    captions, _, problems, _ = folds([run(tmp_path / "a", "teacher")], tmp_path)
    assert captions == []
    assert problems[0].startswith("a/figures/patches.png: not shown")


def rows(steps=40, runs=2, **extra):
    return [
        {"step": step, "nll": [5.0 - step / 10] * runs, **extra}
        | ({"val_log_prob": [step / 10] * runs} if step % 2 == 0 else {})
        for step in range(1, steps + 1)
    ]


def test_curves_are_one_figure_a_data_set(tmp_path):
    made.log(tmp_path / "a", rows())
    made.log(tmp_path / "b", rows(runs=1))
    runs = [run(tmp_path / "a", "student", seed, index=seed) for seed in (0, 1)]
    runs += [run(tmp_path / "b", "ilkd"), run(tmp_path / "b", "student", data="power")]
    problems = []
    found = pictures.curves(runs, tmp_path, problems)
    assert [picture.title for picture in found] == ["MAF on bsds300", "MAF on power"]
    assert problems == []
    first = found[0]
    assert [label for label, *_ in first.keys] == ["Student", "ILKD"]
    assert "(0, 1)" in first.caption
    svg = first.data.decode()
    assert xml.fromstring(svg).tag.endswith("svg")
    for label in ("training log-likelihood (nats)", "validation log-likelihood (nats)"):
        assert f">{label}<" in svg
    # Two lines in each of two panels.
    color = {label: color for label, color, _ in first.keys}["Student"].lower()
    assert svg.lower().count(f"stroke: {color}") == 4


def test_curves_of_images_are_in_bits_and_others_are_losses(tmp_path):
    made.log(
        tmp_path / "bits",
        [{"step": s, "nll": [3.0 + s], "val_bits_per_dim": [2.0]} for s in (1, 2)],
    )
    config = {"loss": {"units": "bits_per_dim"}, "data": {"name": "digits"}}
    made.log(
        tmp_path / "kl", [{"step": s, "loss": [s], "val_loss": [s]} for s in (1, 2)]
    )
    runs = [
        run(tmp_path / "bits", "student", config=config),
        run(tmp_path / "kl", "kl"),
    ]
    one, other = (p.data for p in pictures.curves(runs, tmp_path, []))
    assert b">training loss (kl)<" in one
    assert b">validation loss (kl)<" in one
    assert b">training bits/dim<" in other
    assert b">validation bits/dim<" in other


def test_broken_log_is_named_and_an_absent_one_is_none(tmp_path):
    made.put(tmp_path / "a/log.jsonl", "[1]\nnonsense\n")
    problems = []
    runs = [run(tmp_path / "a", "student"), run(tmp_path / "b", "student")]
    assert pictures.curves(runs, tmp_path, problems) == []
    assert len(problems) == 1
    assert problems[0].startswith("a/log.jsonl: 2 of 2 lines are no log rows")
