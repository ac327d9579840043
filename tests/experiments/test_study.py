"""A study from config to table; the modes eval and sample on one of its runs."""

import pathlib
import re
import shutil

import numpy as np
import pytest

from fdnf import main
from fdnf.data import build as datasets
from fdnf.evaluation.core import stored
from fdnf.evaluation.pictures import levels
from fdnf.experiments import study
from fdnf.train import loop, settings, teachers
from fdnf.train.settings import ConfigError
from fdnf.train.writers import read_log
from tests import floats, tiny
from tests.evaluation import whole

METHODS = ("student", "lkd", "ilkd", "skd", "strong")
FIGURES = ("training.png", "levels.png", "marginals.png")


def config():
    """A distillation with a recipe of its own beside the published methods."""
    built = tiny.affine("ilkd")
    built.study.methods = METHODS
    built.study.runs = 2
    built.study.recipes = {"strong": {"loss/args/weights": (0.5, 0.5, 0.0)}}
    return built


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    main._one("study", config(), path)
    return path


def is_png(path: pathlib.Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 5000


def test_every_method_is_trained_over_the_seeds(workdir):
    for method in ("teacher", *METHODS):
        rows = read_log(workdir / method)
        assert [row["step"] for row in rows] == [3, 6, 9, 12]
        assert np.shape(rows[-1]["val_log_prob"]) == (2,)
        assert rows[0]["loss"][0] != rows[0]["loss"][1]


def test_students_differ_in_the_loss_alone(workdir):
    plans = {m: teachers.load(workdir / m).config for m in METHODS}
    for plan in plans.values():
        for section in ("model", "data", "optim", "train", "seed", "runs"):
            assert plan[section] == plans["student"][section]
    assert plans["student"].loss.method == "nll"
    assert [plans[m].loss.method for m in ("lkd", "skd")] == ["lkd", "skd"]
    assert plans["strong"].loss.args.weights == (0.5, 0.5, 0.0)
    assert plans["ilkd"].loss.args.weights is None
    rows = {m: read_log(workdir / m) for m in METHODS}
    for row in rows["skd"]:
        assert row["skd"][0] > 0
    for row, term in zip(rows["strong"], rows["ilkd"], strict=True):
        expected = 0.5 * row["nll"][0] + 0.5 * row["ilkd"][0]
        floats.assert_close(row["loss"][0], expected, rtol=1e-5)
        expected = 0.9 * term["nll"][0] + 0.1 * term["ilkd"][0]
        floats.assert_close(term["loss"][0], expected, rtol=1e-5)


def likelihoods(folder):
    """Method, seed and split to log-likelihood, of the models below a directory."""
    return {
        (run.method, run.seed, score.split): score.value
        for run, own in stored.read(folder)
        for score in own
        if score.metric == "log_likelihood"
    }


def test_results(workdir):
    found = stored.read(workdir / "results")
    expected = [(m, seed) for m in ("teacher", *METHODS) for seed in (0, 1)]
    runs = [(run.method, run.seed) for run, _ in found]
    assert sorted(runs) == sorted([("training", 0), *expected])
    for method, seed in expected:
        assert np.isfinite(likelihoods(workdir / "results")[method, seed, "test"])
    # A copy of the plain student's cost would count as a measurement.
    timed = [r.run.seed for r in whole.of_method(found, "ilkd") if r.get("density_ms")]
    assert timed == [0]


def test_table_has_no_gap(workdir):
    table = (workdir / "table.md").read_text()
    for label in ("Teacher", "Student", "LKD", "ILKD", "SKD"):
        rows = [
            [cell.strip() for cell in line.strip("| ").split("|")]
            for line in table.splitlines()
            if re.search(rf"\| {label} +\|", line)
        ]
        assert len(rows) >= 3, label
        for cells in rows:
            assert not {"-", "", "nan"} & set(cells), (label, cells)
    assert "strong" in table
    assert re.search(r"\| Training data +\| - ", table)
    assert r"\begin{tabular}" in (workdir / "table.tex").read_text()


@pytest.mark.parametrize("name", FIGURES)
def test_figures(workdir, name):
    assert is_png(workdir / "figures" / name)


def test_a_finished_study_is_only_evaluated(workdir, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise AssertionError("it trained again")

    monkeypatch.setattr(loop.program.step, "make_train_step", refuse)
    main._one("study", config(), workdir)
    assert "| SKD" in capsys.readouterr().out


def test_level_distances(workdir):
    data = datasets.build(config().data)
    teacher = teachers.load(workdir / "teacher")
    batches = [(data.test, None)]
    mean, half = levels.between(teacher, teacher, batches)
    np.testing.assert_array_equal(mean, np.zeros(1))
    np.testing.assert_array_equal(half, np.zeros(1))
    student = teachers.load(workdir / "student")
    mean, half = levels.between(student, teacher, batches)
    assert mean.shape == half.shape == (1,)
    assert mean[0] > 0


def trained_alone(workdir):
    """The plain student's config, as a run of its own."""
    return settings.from_dict(settings.to_dict(teachers.load(workdir).config))


def test_a_students_own_directory_is_evaluated(workdir, monkeypatch):
    seen = {}

    def report(_, where, *rest):
        seen.update(where)
        return ""

    monkeypatch.setattr(study, "report", report)
    own = trained_alone(workdir / "strong")
    study.again(own, workdir / "strong")
    assert seen == {"teacher": workdir / "teacher", "ilkd": workdir / "strong"}
    own.teacher.workdir = ""
    with pytest.raises(ConfigError, match="holds no finished run"):
        study.again(own, workdir / "figures")


def test_eval_mode(workdir, capsys):
    student = workdir / "student"
    main._one("eval", trained_alone(student), student)
    out = capsys.readouterr().out
    assert "### Affine on synthetic" in out
    assert (student / "table.md").read_text() in out
    assert is_png(student / "figures" / "training.png")
    again = likelihoods(student / "results")
    assert again == likelihoods(workdir / "results" / "student")


def test_eval_mode_of_an_unfinished_run(workdir, tmp_path):
    shutil.copytree(workdir / "teacher", tmp_path / "run")
    (tmp_path / "run" / loop.FINISHED).unlink()
    with pytest.raises(ConfigError, match=r"is not finished .* training command again"):
        main._one("eval", trained_alone(tmp_path / "run"), tmp_path / "run")


def test_sample_mode(workdir, capsys):
    student = workdir / "student"
    config = trained_alone(student)
    config.eval.samples = 30
    main._one("sample", config, student)
    printed = capsys.readouterr().out.split()
    assert printed == [
        str(student / "samples" / name) for name in ("samples.npz", "marginals.png")
    ]
    with np.load(printed[0]) as archive:
        assert sorted(archive.files) == ["run_0", "run_1"]
        assert archive["run_0"].shape == (30, 3)
        assert np.isfinite(archive["run_0"]).all()
        assert not np.array_equal(archive["run_0"], archive["run_1"])
    assert is_png(pathlib.Path(printed[1]))


def test_unknown_method(tmp_path):
    with pytest.raises(ConfigError, match=r"got \['vlkd'\]"):
        study.run(config(), tmp_path, ["student", "vlkd"], 1)


def test_recipe_of_an_unknown_key(tmp_path):
    wrong = config()
    wrong.study.recipes = {"strong": {"loss/args/weight": (0.5, 0.5, 0.0)}}
    with pytest.raises(ConfigError, match=r"loss.args.weight"):
        study.run(wrong, tmp_path, ["strong"], 1)


@pytest.mark.parametrize("start", ["kl", "oracle", "resnet_noise_l1"])
def test_studies_of_samplers_are_the_same_from_whichever_they_start(start):
    from configs import pixelcnn_digits

    def get(method):
        words = method.split("_") if "resnet" in method else ("iaf", method)
        return pixelcnn_digits.get_config(",".join((*words, "smoke")))

    config = get(start)
    assert config.label == start
    for method in config.study.methods:
        named = get(method)
        planned = study._plan(config, method, 1)
        for section in ("model", "loss", "optim", "train"):
            assert planned[section].to_dict() == named[section].to_dict(), method
        assert planned.teacher.samples == named.teacher.samples


@pytest.mark.parametrize("start", ["guided", "z"])
@pytest.mark.parametrize("words", ["iaf", "iaf,spline"])
def test_a_study_of_iafs_has_the_guided_one(start, words):
    from configs import maf_patches

    config = maf_patches.get_config(f"{words},{start}")
    assert set(config.study.methods) == {"kl", "z", "x", "oracle", "guided"}
    for method in config.study.methods:
        named = maf_patches.get_config(f"{words},{method}")
        planned = study._plan(config, method, 1)
        for section in ("model", "loss", "optim", "train"):
            assert planned[section].to_dict() == named[section].to_dict(), method
        for key in ("samples", "share"):
            assert planned.teacher[key] == named.teacher[key]


def test_the_method_of_a_config_keeps_what_was_set_by_hand():
    from configs import maf_patches

    config = maf_patches.get_config("iaf,kl,smoke")
    config.optim.lr = 0.5
    assert study._plan(config, "kl", 1).optim.lr == 0.5
    assert study._plan(config, "x", 1).optim.lr == 3e-3
