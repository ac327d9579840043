"""Values from a command line and from sweeps, over those of a config file."""

import importlib
import json
import pathlib
import subprocess
import sys

import pytest

from fdnf.train import models, settings
from fdnf.train.settings import ConfigError

ROOT = pathlib.Path(__file__).parents[2]


def get(name, arg):
    return importlib.import_module(f"configs.{name}").get_config(arg).lock()


def given(config, *words):
    """The config, after what a command line gives."""
    rest, values = settings.split_flags(words)
    assert not rest
    settings.override(config, values)
    return config


def test_the_command(tmp_path):
    """Data reach the teacher that is trained first; arguments are merged."""
    words = [
        "--config=configs/maf_gas.py:ilkd,smoke",
        "--config.data.name=npz",
        f"--config.data.args={{'path': '{tmp_path / 'rows.npz'}'}}",
        "--config.model.args={'steps': 2}",
        "--config.teacher.config.model.args.bound=3",
    ]
    code = (
        "import json, sys\n"
        "from fdnf import main\n"
        "main.parse_flags(sys.argv)\n"
        "print(main._CONFIG.value.to_json())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    assert config["data"] == {
        "name": "npz",
        "args": {"path": str(tmp_path / "rows.npz")},
    }
    assert config["teacher"]["config"]["data"] == config["data"]
    assert config["model"]["args"] == {"steps": 2, "hidden": [32, 32]}
    assert config["teacher"]["config"]["model"]["args"]["bound"] == 3
    settings.check(settings.from_dict(config))


def test_data_reach_all_models_that_are_trained_first():
    config = given(get("srflow_bsds300", "student,smoke"), "--config.data.args.rows=12")
    before = config.teacher.config.pretrained.config
    assert config.data.args.rows == 12
    assert config.teacher.config.data.args.rows == before.data.args.rows == 12
    settings.check(config)


def test_the_teachers_own_value_goes_before():
    config = get("maf_gas", "ilkd,smoke")
    words = ("--config.teacher.config.data.args.rows=70", "--config.data.args.rows=50")
    for each in (words, words[::-1]):
        given(config, *each)
        assert config.data.args.rows == 50
        assert config.teacher.config.data.args.rows == 70


def test_one_key_of_a_section_of_arguments_leaves_the_others():
    config = given(
        get("maf_gas", "smoke"),
        "--config.model.args={'steps': 2}",
        "--config.data.args={'rows': 20}",
    )
    assert config.model.args.to_dict() == {"steps": 2, "hidden": (32, 32)}
    assert config.data.args.to_dict() == {"dim": 6, "rows": 20, "seed": 0}
    settings.check(config)


def test_another_model_has_none_of_the_arguments_before():
    config = get("maf_gas", "smoke")
    settings.override(config, {"model.args": {"hidden": (8,)}, "model.name": "nice"})
    assert config.model.args.to_dict() == {"hidden": (8,)}
    settings.check(config)


def test_attributes_that_the_file_leaves_out():
    words = ("--config.model.args.bound=3", "--config.model.args.steps", "2")
    config = given(get("maf_gas", "smoke"), *words)
    assert config.model.args.to_dict() == {"steps": 2, "hidden": (32, 32), "bound": 3}
    settings.check(config)
    assert isinstance(models.build(config.model).bound, float)
    given(config, "--config.model.args.depth=3")
    with pytest.raises(ConfigError, match="'maf' has no such key"):
        settings.check(config)


def test_split():
    rest, given = settings.split_flags(
        [
            *(
                "fdnf",
                "--config=c.py",
                "--config.optim.lr=1",
                "--config.loss.args.parts=x",
            ),
            *("--config.model.args.hidden=(8,8)", "-config.data.args.path", "a=b.npz"),
            *("--config.teacher.config.model.args.plu=true", "--workdir=w"),
        ]
    )
    assert rest == [
        *("fdnf", "--config=c.py", "--config.optim.lr=1"),
        *("--config.loss.args.parts=x", "--workdir=w"),
    ]
    assert given == {
        "model.args.hidden": (8, 8),
        "data.args.path": "a=b.npz",
        "teacher.config.model.args.plu": True,
    }
    with pytest.raises(ConfigError, match="data.args.path: a value is missing"):
        settings.split_flags(["--config.data.args.path"])


def test_unknown_keys_name_the_nearest():
    config = get("maf_gas", "smoke")
    with pytest.raises(ConfigError, match=r"key: train.stepz; near it are train.steps"):
        settings.override(config, {"train.stepz": 3})
    with pytest.raises(ConfigError, match="override seed='x'"):
        settings.override(config, {"seed": "x"})
