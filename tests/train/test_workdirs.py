"""The small files of a workdir, and what does not enter a checkpoint."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs.maf_patches import get_config
from fdnf import files
from fdnf.evaluation.core import stored as results
from fdnf.evaluation.tasks import evaluate
from fdnf.experiments import points, study
from fdnf.train import loop, settings, stored, teachers, workdirs
from fdnf.train.checkpoint import CheckpointError
from fdnf.train.settings import ConfigError
from fdnf.train.workdirs import WorkdirError
from tests import processes, tiny


def _result(config):
    return {"steps": 1, "skipped_steps": [0], "best_step": [1], "config": config}


def test_failed_says_why(tmp_path):
    workdirs.write_failed(tmp_path, ValueError("too hot"))
    assert json.loads((tmp_path / "failed.json").read_text()) == {"error": "too hot"}


def test_nothing_is_finished_in_an_empty_directory(tmp_path):
    assert workdirs.finished(tiny.config(), tmp_path) is None


@pytest.mark.parametrize("name", ["config.json", "finished.json"])
def test_what_is_done_with_a_run_does_not_make_it_another(name, tmp_path):
    config = tiny.config()
    saved = settings.to_dict(config)
    content = _result(saved) if name == "finished.json" else saved
    files.write_json(tmp_path / name, content)
    config.label = "another name"
    config.eval.samples = 7
    config.study.runs = 9
    result = workdirs.finished(config, tmp_path)
    assert result == (content if name == "finished.json" else None)
    config.seed = 5
    with pytest.raises(ConfigError, match=r"different: seed \(0 there, 5 here\)"):
        workdirs.finished(config, tmp_path)


def test_settings_of_another_method_do_not_make_it_another(tmp_path):
    """As a run of x that was there before its config had a section of guided ones."""
    config = get_config("iaf,x,smoke")
    saved = settings.to_dict(config)
    del saved["loss"]["guided"]
    files.write_json(tmp_path / "finished.json", _result(saved))
    assert workdirs.finished(config, tmp_path) is not None
    guided = get_config("iaf,guided,smoke")
    saved = settings.to_dict(guided)
    saved["loss"]["guided"]["robust"] = 5.0
    files.write_json(tmp_path / "finished.json", _result(saved))
    with pytest.raises(ConfigError, match=r"different: loss.guided.robust \(5.0 there"):
        workdirs.finished(guided, tmp_path)


def states(workdir, steps):
    """What is in its checkpoints; nothing of where it lies."""
    directory = workdir / "checkpoints"
    assert stored.steps(directory) == steps
    for step in steps:
        trees, meta = stored._read(directory / str(step), ("state", "best"))
        assert str(workdir.parent) not in json.dumps(meta)
        yield trees, meta


def same_states(ours, theirs):
    for (trees, meta), (others, about) in zip(ours, theirs, strict=True):
        assert meta == about
        assert jax.tree.structure(trees) == jax.tree.structure(others)
        jax.tree.map(np.testing.assert_array_equal, trees, others)


def test_started_again_elsewhere_it_is_the_same(trained, tmp_path, monkeypatch):
    """And what it failed of is removed."""
    workdir, temporary = tmp_path / "elsewhere" / "deep", tmp_path / "tmp of it"
    temporary.mkdir()
    environment = {
        "HOSTNAME": "host-else",
        "TMPDIR": str(temporary),
        "TZ": "UTC-9",
        "USER": "else",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(temporary)
    workdirs.write_failed(workdir, ValueError("too hot"))
    loop.train_and_evaluate(tiny.config(), workdir)
    assert not (workdir / workdirs.FAILED).exists()
    assert (workdir / workdirs.FINISHED).exists()
    same_states(states(trained, [12, 6]), states(workdir, [12, 6]))


# In CI the subject is that of the test above.
@pytest.mark.slow
def test_clock_host_and_paths_do_not_enter_the_state(tmp_path):
    overrides = processes.SMALL | {"train.steps": 20, "train.eval_every": 10}
    found = []
    for name in ("here", "elsewhere/deep"):
        workdir, temporary = tmp_path / name, tmp_path / f"tmp of {name[:4]}"
        temporary.mkdir()
        workdir.mkdir(parents=True)
        environment = {
            "HOSTNAME": f"host-{name[:4]}",
            "TMPDIR": str(temporary),
            "TZ": "UTC+7" if name == "here" else "UTC-9",
            "USER": name[:4],
        }
        processes.trained(
            workdir,
            tmp_path / "stderr",
            overrides=overrides,
            devices=2,
            environment=environment,
        )
        found.append(states(workdir, [20, 10]))
    same_states(*found)


def test_what_follows_training_does_not_make_another_run(tmp_path):
    config = tiny.config()
    config.teacher = {"config": tiny.config().to_dict()}
    content = _result(settings.to_dict(config))
    files.write_json(tmp_path / workdirs.FINISHED, content)
    config.eval.samples += 1
    config.teacher.config.eval.samples += 1
    config.teacher.config.label = "another"
    assert workdirs.finished(config, tmp_path) is not None
    config.teacher.config.optim.lr *= 2
    with pytest.raises(ConfigError, match=r"teacher\.config\.optim\.lr"):
        workdirs.finished(config, tmp_path)


ROOT = pathlib.Path(__file__).parents[2]
DAMAGES = {
    "empty": b"",
    "cut": b'{"steps": 12, "conf',
    "binary": bytes(range(256)),
    "null": b"null",
    "a list": b"[1, 2]",
    "deep": b"[" * 100_000,
    "without keys": b"{}",
    "of other keys": b'{"format": 9, "progress": {"steps": 12}}',
    "of other types": b'{"steps": "12", "skipped_steps": 0, "config": []}',
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained")
    loop.train_and_evaluate(tiny.config(), workdir)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_result_is_named_and_made_anew(damage, workdir, caplog):
    path = workdir / "finished.json"
    path.write_bytes(DAMAGES[damage])
    with pytest.raises(files.DamagedError, match=r"finished\.json.*training command"):
        evaluate._skipped(workdir)
    assert workdirs.finished(tiny.config(), workdir) is None
    assert str(path) in caplog.text
    other = tiny.config()
    other.seed = 5
    with pytest.raises(ConfigError, match="seed"):
        workdirs.finished(other, workdir)


@pytest.mark.parametrize("damage", ["empty", "cut", "binary", "null", "a list", "gone"])
def test_damaged_config_is_read_from_the_checkpoint(damage, workdir):
    (workdir / "finished.json").unlink()
    if damage == "gone":
        (workdir / "config.json").unlink()
    else:
        (workdir / "config.json").write_bytes(DAMAGES[damage])
    assert workdirs.finished(tiny.config(), workdir) is None
    other = tiny.config()
    other.optim.lr *= 2
    with pytest.raises(ConfigError, match=r"optim\.lr"):
        workdirs.finished(other, workdir)


def test_what_is_damaged_is_rebuilt_from_the_checkpoint(workdir, trained):
    for name in ("finished.json", "config.json", "log.jsonl", "log.csv", "failed.json"):
        (workdir / name).write_bytes(DAMAGES["binary"])
    result = loop.train_and_evaluate(tiny.config(), workdir)
    for name in ("finished.json", "config.json"):
        assert (workdir / name).read_text() == (trained / name).read_text()
    assert result == workdirs.result(trained)
    tiny.same_best(workdir, trained)


def test_missing_log_costs_the_curves_and_nothing_else(workdir, caplog, monkeypatch):
    """And what reads a workdir needs no lock of it."""

    def refuse(path):
        raise AssertionError("reading locks nothing")

    monkeypatch.setattr(workdirs, "_held", refuse)
    assert teachers.load(workdir).runs == 1
    (workdir / "log.jsonl").unlink()
    config = tiny.config()
    data = study.datasets.build(config.data)
    study.report(workdir, {"teacher": workdir}, data, config.eval)
    assert not (workdir / "figures" / "training.png").exists()
    assert (workdir / "figures" / "marginals.png").exists()
    assert "training.png is not drawn" in caplog.text


def test_evaluation_on_other_rows_takes_no_place_of_another(workdir):
    config = tiny.config()
    places = []
    for seed in (0, 1, 2):
        config.data.args.seed = seed
        data = study.datasets.build(config.data)
        study.report(workdir, {"teacher": workdir}, data, config.eval)
        places.append((workdir / "table.md").read_text())
    assert len(set(places)) == 1
    others = list((workdir / "other_data").iterdir())
    assert len(others) == 2
    for place in others:
        assert (place / "table.md").read_text() != places[0]
        assert (place / "figures" / "marginals.png").exists()
    # The teacher's, and that of its floor.
    methods = {path.parts[-3] for path in results.paths(workdir)}
    assert methods == {"teacher", "training"}


@pytest.mark.parametrize("changed", [False, True])
def test_evaluation_says_that_a_teacher_has_changed(changed, tmp_path, monkeypatch):
    metas = {
        tmp_path / "teacher": {"mark": 7 + changed},
        tmp_path / "student": {"mark": 3, "rests_on": {"data": []}},
        tmp_path / "lkd": {"mark": 4, "rests_on": {"data": [], "teacher": 7}},
    }
    monkeypatch.setattr(study.checkpoint, "meta_of", metas.__getitem__)
    warned = []
    monkeypatch.setattr(study._log, "warning", lambda text, *a: warned.append(a[0]))
    study._check_teacher({path.name: path for path in metas})
    assert warned == ([tmp_path / "lkd"] if changed else [])


@pytest.mark.parametrize("how", [pytest.param("gone", marks=pytest.mark.slow), "cut"])
def test_finished_run_without_its_last_checkpoint_is_refused(how, workdir):
    last = workdir / "checkpoints" / "12"
    if how == "gone":
        shutil.rmtree(last)
    else:
        parts = [path for path in (last / "best").rglob("*") if path.is_file()]
        largest = max(parts, key=lambda path: path.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)
    with pytest.raises(CheckpointError, match=r"finished at step 12, but .* step 6"):
        teachers.load(workdir)
    # The way out that is named.
    (workdir / "finished.json").unlink()
    loop.train_and_evaluate(tiny.config(), workdir)
    assert teachers.load(workdir).meta["step"] == 12


def test_checkpoint_of_a_later_version_is_left_alone(workdir, monkeypatch):
    monkeypatch.setattr(stored, "FORMAT", 0)
    with pytest.raises(CheckpointError, match="format 1, this version of fdnf reads"):
        teachers.load(workdir)
    assert stored.steps(workdir / "checkpoints") == [12, 6]


def test_unknown_model_of_a_checkpoint_is_named(workdir, monkeypatch):
    def build(config):
        raise ValueError("unknown flow")

    monkeypatch.setattr(teachers.models, "build", build)
    with pytest.raises(CheckpointError, match="this version of fdnf cannot make"):
        teachers.load(workdir)


def test_one_writer_a_workdir(tmp_path):
    code = (
        "import sys\n"
        "from fdnf.train import workdirs\n"
        "with workdirs.alone([sys.argv[1]]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        says = rf"written by process {other.pid} on .+ since 20"
        with pytest.raises(WorkdirError, match=says):
            loop.train_and_evaluate(tiny.config(), tmp_path)
        link = tmp_path.with_name("link")
        link.symlink_to(tmp_path)
        with pytest.raises(WorkdirError, match=says):
            points.run([points.member(tiny.config(), link)], "auto")
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]
    finally:
        other.kill()
        other.wait()
    # It goes with the process, however that ended.
    with workdirs.alone([tmp_path]), workdirs.alone([tmp_path, tmp_path / "teacher"]):
        workdirs.check_held(tmp_path)


@pytest.mark.parametrize(
    "how", [*("moved", "another"), pytest.param("removed", marks=pytest.mark.slow)]
)
def test_workdir_that_is_gone_while_it_trains(how, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    save = loop.Checkpointer.save

    def then(self, step, *args):
        saved = save(self, step, *args)
        self.wait()
        if how == "removed":
            shutil.rmtree(workdir)
        else:
            workdir.rename(tmp_path / "elsewhere")
        if how == "another":
            workdir.mkdir()
        return saved

    monkeypatch.setattr(loop.Checkpointer, "save", then)
    with pytest.raises(WorkdirError, match="was moved or removed while it was written"):
        loop.train_and_evaluate(tiny.config(), workdir)
    assert how == "another" or not workdir.exists()
    assert not (workdir / "checkpoints").exists()


def test_a_place_has_one_name_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny.config()
    config.teacher = {"workdir": "runs/teacher", "config": None}
    files.write_json(tmp_path / "config.json", settings.to_dict(config))
    config.teacher.workdir = str(tmp_path / "runs" / "teacher")
    assert workdirs.finished(config, tmp_path) is None
    config.teacher.workdir = str(tmp_path / "runs" / "another")
    with pytest.raises(ConfigError, match=r"teacher\.workdir"):
        workdirs.finished(config, tmp_path)
