"""A teacher learns the rows of its student, unless it is said that it shall not."""

import copy
import importlib

import pytest

from fdnf.experiments import points, study
from fdnf.train import faults, loop, settings
from fdnf.train.settings import ConfigError
from tests import tiny


def get(name, arg):
    return importlib.import_module(f"configs.{name}").get_config(arg)


@pytest.fixture
def untrained(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("training started")

    monkeypatch.setattr(loop.program.step, "make_train_step", refuse)


def test_sections_that_differ_are_refused_before_the_teacher_is_trained(
    tmp_path, untrained
):
    config = tiny.config("ilkd")
    config.data.args.seed = 1
    says = (
        r"teacher.config has other data: data.args.seed \(0 there, 1 here\).*"
        r"teacher.other_data=True"
    )
    with pytest.raises(ConfigError, match=says):
        loop.train_and_evaluate(config, tmp_path / "run")
    with pytest.raises(ConfigError, match=says):
        study.run(config, tmp_path / "study", ("ilkd",), 1)
    config.teacher.other_data = True
    with pytest.raises(AssertionError, match="training started"):
        loop.train_and_evaluate(config, tmp_path / "run")


def test_a_trained_teacher_of_other_rows_is_refused(tmp_path, untrained):
    config = tiny.config("ilkd")
    workdir = tiny.stored(config.teacher.config, tmp_path / "taught")
    config.teacher.workdir = str(workdir)
    with pytest.raises(AssertionError, match="training started"):
        loop.train_and_evaluate(copy.deepcopy(config), tmp_path / "run")
    config.data.args.rows = 100
    says = r"taught was trained on other data: data.args.rows \(200 there, 100 here\)"
    with pytest.raises(ConfigError, match=says):
        loop.train_and_evaluate(copy.deepcopy(config), tmp_path / "run")
    with pytest.raises(ConfigError, match=says):
        study.run(config, tmp_path / "study", ("ilkd",), 1)
    config.teacher.other_data = True
    with pytest.raises(AssertionError, match="training started"):
        loop.train_and_evaluate(copy.deepcopy(config), tmp_path / "run")


def test_the_data_of_a_sweeps_point_reach_its_teacher():
    given = {"data.args.rows": 50, "data.args": {"seed": 3}}
    changed = points._changed(tiny.config("ilkd").lock(), given)
    theirs = changed.teacher.config.data
    assert theirs.args.to_dict() == {"dim": 3, "rows": 50, "seed": 3}
    assert changed.data.to_dict() == theirs.to_dict()


def test_a_value_of_the_teachers_own_goes_before():
    given = {"data.args.rows": 50, "teacher.config.data.args.rows": 70}
    assert faults.reaching("teacher", given) == {"data.args.rows": 70}
    # What may differ stays as it is, unless the data set is another.
    given = {"data.args.crop": 64, "data.args.scale": 2, "data.bins": 8}
    assert faults.reaching("teacher", given) == {
        "data.args.scale": 2,
        "data.bins": 8,
    }
    assert faults.reaching("pretrained", given) == {"data.args.scale": 2}
    whole = {"data.args": {"crop": 64, "scale": 2}}
    assert faults.reaching("teacher", whole) == {"data.args": {"scale": 2}}
    assert faults.reaching("teacher", {"data.name": "npz", **whole}) == {
        "data.name": "npz",
        **whole,
    }


def test_windows_of_the_same_rows_may_differ():
    config = get("srflow_bsds300", "student")
    ours, theirs = config.data, copy.deepcopy(config.data)
    theirs.args.update(crop=64, tile=128, windows=10)
    theirs.flip = not theirs.flip
    assert faults.data_differences("teacher", ours, theirs) == []
    theirs.bins = 0
    assert faults.data_differences("teacher", ours, theirs) == [
        "data.bins (0 there, 32 here)"
    ]
    assert faults.data_differences("pretrained", ours, theirs) == []
    theirs.args.scale = 2
    assert faults.data_differences("pretrained", ours, theirs) == [
        "data.args.scale (2 there, 4 here)"
    ]


def test_what_is_left_out_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = {"name": "npz", "args": {"path": "rows.npz", "rows": None}}
    theirs = {"name": "npz", "args": {"path": str(tmp_path / "rows.npz")}}
    assert faults.data_differences("teacher", ours, theirs) == []
    assert (
        faults.data_differences(
            "teacher", {"name": "mnist", "n_bits": 8}, {"name": "mnist", "args": {}}
        )
        == []
    )


def test_a_pretrained_model_of_other_data_is_refused():
    config = get("srflow_photographs", "smoke")
    config.data.args.rows = 8
    says = r"pretrained.config has other data: data.args.rows \(None there, 8 here\)"
    with pytest.raises(ConfigError, match=says):
        settings.check(config)
    config.pretrained.other_data = True
    settings.check(config)
    # That of a teacher too.
    config = get("srflow_photographs", "student,smoke")
    config.teacher.config.pretrained.config.data.args.rows = 8
    with pytest.raises(ConfigError, match=r"teacher.config.pretrained.config has"):
        settings.check(config)


def test_a_study_on_few_rows_says_so():
    config = get("recipes", "maf,bsds300,few")
    assert config.teacher.other_data
    settings.check(config)
