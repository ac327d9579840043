"""The small files of a workdir, and what does not enter a checkpoint."""

import json

import jax
import numpy as np
import pytest

from fdnf.train import loop, settings, stored, workdirs
from fdnf.train.settings import ConfigError
from tests import processes, tiny


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    workdirs.write_json(path, {"a": 1})

    def full(self, text, **kwargs):
        with open(self, "w") as file:
            file.write(text[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(OSError, match="No space"):
        workdirs.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_failed_says_why(tmp_path):
    workdirs.write_failed(tmp_path, ValueError("too hot"))
    assert json.loads((tmp_path / "failed.json").read_text()) == {"error": "too hot"}


def test_nothing_is_finished_in_an_empty_directory(tmp_path):
    assert workdirs.finished(tiny.config(), tmp_path) is None


@pytest.mark.parametrize("name", ["config.json", "finished.json"])
def test_what_is_done_with_a_run_does_not_make_it_another(name, tmp_path):
    config = tiny.config()
    saved = settings.to_dict(config)
    content = {"config": saved} if name == "finished.json" else saved
    workdirs.write_json(tmp_path / name, content)
    config.label = "another name"
    config.eval.samples = 7
    config.study.runs = 9
    result = workdirs.finished(config, tmp_path)
    assert result == (content if name == "finished.json" else None)
    config.seed = 5
    with pytest.raises(ConfigError, match=r"different: seed \(0 there, 5 here\)"):
        workdirs.finished(config, tmp_path)


def test_failed_is_removed_when_it_is_started_again(tmp_path):
    workdirs.write_failed(tmp_path, ValueError("too hot"))
    loop.train_and_evaluate(tiny.config(), tmp_path)
    assert not (tmp_path / workdirs.FAILED).exists()
    assert (tmp_path / workdirs.FINISHED).exists()


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
        directory = workdir / "checkpoints"
        assert stored.steps(directory) == [20, 10]
        for step in (10, 20):
            trees, meta = stored._read(directory / str(step), ("state", "best"))
            found.append((trees, meta))
            assert str(tmp_path) not in json.dumps(meta)
    for ours, theirs in zip(found[:2], found[2:], strict=True):
        assert ours[1] == theirs[1]
        assert jax.tree.structure(ours[0]) == jax.tree.structure(theirs[0])
        jax.tree.map(np.testing.assert_array_equal, ours[0], theirs[0])


def test_what_follows_training_does_not_make_another_run(tmp_path):
    config = tiny.config()
    config.teacher = {"config": tiny.config().to_dict()}
    workdirs.write_json(
        tmp_path / workdirs.FINISHED, {"config": settings.to_dict(config)}
    )
    config.eval.samples += 1
    config.teacher.config.eval.samples += 1
    config.teacher.config.label = "another"
    assert workdirs.finished(config, tmp_path) is not None
    config.teacher.config.optim.lr *= 2
    with pytest.raises(ConfigError, match=r"teacher\.config\.optim\.lr"):
        workdirs.finished(config, tmp_path)
