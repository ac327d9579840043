"""Checks of a whole config, overrides of it, and the data of the models within it."""

import copy
import importlib
import json
import pathlib
import subprocess
import sys

import pytest

from configs import waveglow_asterisk, wavenet_asterisk
from fdnf.experiments import points, study
from fdnf.train import faults, loop, models, settings
from fdnf.train.settings import ConfigError
from tests import tiny


def test_right_configs_pass():
    settings.check(tiny.config())
    settings.check(tiny.config("skd"))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("train.steps", 0, "train.steps=0"),
        ("train.batch_size", -1, "train.batch_size=-1"),
        ("train.log_every", 0, "train.log_every=0"),
        ("train.keep", 0, "train.keep=0"),
        ("train.steps_per_call", 5, "train.steps=12 is not a multiple of"),
        ("train.eval_every", 4, "train.eval_every=4 is not a multiple of"),
        ("runs", 0, "runs=0"),
        ("data.name", "minst", "data.name='minst': expected one of .*'patches'"),
        ("model.name", "vae", "model.name='vae': expected one of .*'maf'"),
        (
            "model.args",
            {"depth": 3},
            r"model.args.depth: 'maf' has no such key; it has .*hidden",
        ),
        ("optim.name", "sgd", "optim.name='sgd'"),
        ("optim.lr", 0.0, "optim.lr=0.0"),
        ("optim.warmup", 12.0, "optim.warmup=12.0 with 12 training steps"),
        ("optim.clip", -1.0, "optim.clip=-1.0"),
        ("optim.ema", 1.0, "optim.ema=1.0"),
        ("loss.method", "vlkd", "loss.method='vlkd': expected one of"),
        ("loss.preset", "mine", "loss.preset='mine': expected one of"),
        (
            "loss.args",
            {"weight": (1, 0, 0)},
            "loss.args.weight: there is no such key; near it are loss.args.weights",
        ),
        ("teacher.config", None, "needs a teacher"),
        ("teacher.config.train.steps", 0, "train.steps=0"),
    ],
)
def test_wrong_value_is_named(key, value, says):
    config = tiny.config("ilkd").unlock()
    *path, last = key.split(".")
    section = config
    for name in path:
        section = section[name]
    with section.ignore_type():
        section[last] = value
    with pytest.raises(ConfigError, match=says):
        settings.check(config)


def test_distillation_without_a_teacher_section():
    config = tiny.config("ilkd")
    del config.teacher
    with pytest.raises(ConfigError, match=r"teacher.workdir .* teacher.config"):
        settings.check(config)


def test_dict_is_what_json_holds_and_comes_back():
    config = tiny.config("skd")
    values = settings.to_dict(config)
    assert json.loads(json.dumps(values)) == values
    again = settings.from_dict(values)
    assert again.model.args.hidden == (8,)
    assert settings.to_dict(again) == values
    settings.check(again)


def test_frames_where_a_vocoder_expects_them():
    config = waveglow_asterisk.get_config("student,v3")
    settings.check(config)
    ours = config.model.args.hop
    config.data.mel.hop = 2 * ours
    said = rf"model.args.hop={ours}, data.mel.hop={2 * ours}"
    with pytest.raises(ConfigError, match=said):
        settings.check(config)
    del config.data.mel.hop
    with pytest.raises(ConfigError, match=rf"model.args.hop={ours}, .*hop=256"):
        settings.check(config)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("high", 3900.0, r"model.args.high=4000.0, data.mel.high=3900.0: .*8000.0"),
        ("n_fft", 512, r"model.args.n_fft=256, data.mel.n_fft=512: .* it is 1024"),
        ("window", 128, r"prediction=32 with data.mel.window=128, data.mel.n_fft=256"),
        ("low", 50.0, r"data.mel.low=50.0: expected a window as long as the transf"),
        ("rate", 16_000, r"model.args.rate=8000, data.args.rate=16000: .* is 8000"),
    ],
)
def test_linear_prediction_knows_the_mel(key, value, said):
    config = wavenet_asterisk.get_config()
    settings.check(config)
    (config.data.args if key == "rate" else config.data.mel)[key] = value
    with pytest.raises(ConfigError, match=said):
        settings.check(config)
    if key != "window":
        return
    config.model.args.prediction = 0
    settings.check(config)


def test_a_feed_forward_student_has_no_pool_of_samples():
    config = waveglow_asterisk.get_config("student,v3")
    config.teacher.samples = 100
    with pytest.raises(ConfigError, match=r"teacher.samples=100: .* set it to 0"):
        settings.check(config)


ROOT = pathlib.Path(__file__).parents[2]


def get(name, arg):
    return importlib.import_module(f"configs.{name}").get_config(arg).lock()


def given(config, *words):
    """The config, after what a command line gives."""
    rest, values = settings.split_flags(words)
    assert not rest
    settings.override(config, values)
    return config


# In CI this is merged by `given`, below, and commands are run by `test_main`.
@pytest.mark.slow
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
            # Arguments of a data set, short.
            *("--config.data.columns=a,b", "--config.data.transforms.age=integer"),
            *("--config.teacher.config.data.seed", "3", "--config.data.flip=True"),
        ]
    )
    assert rest == [
        *("fdnf", "--config=c.py", "--config.optim.lr=1"),
        *("--config.loss.args.parts=x", "--workdir=w", "--config.data.flip=True"),
    ]
    assert given == {
        "model.args.hidden": (8, 8),
        "data.args.path": "a=b.npz",
        "teacher.config.model.args.plu": True,
        "data.args.columns": "a,b",
        "data.args.transforms.age": "integer",
        "teacher.config.data.args.seed": 3,
    }
    with pytest.raises(ConfigError, match="data.args.path: a value is missing"):
        settings.split_flags(["--config.data.args.path"])


SPLINE = {"name": "spline", "bins": 8}


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        (SPLINE, {"shape.bins": 16}, {"name": "spline", "bins": 16}),
        (SPLINE, {"shape.box": 2.0}, {"name": "spline", "bins": 8, "box": 2.0}),
        (SPLINE, {"shape": {"box": 2.0}}, {"name": "spline", "bins": 8, "box": 2.0}),
        (SPLINE, {"shape": {"name": "affine"}}, {"name": "affine"}),
        (SPLINE, {"shape": "affine"}, "affine"),
        ("affine", {"shape.bins": 4, "shape": "spline"}, {"name": "spline", "bins": 4}),
        (None, {"shape.name": "spline"}, {"name": "spline"}),
        (None, {"shape.a.b": 1, "shape.a.c": 2}, {"a": {"b": 1, "c": 2}}),
    ],
)
def test_an_argument_with_keys_of_its_own(before, given, after):
    """One of them leaves the others, and the other arguments, as they are."""
    config = get("maf_gas", "ilkd,smoke")
    inner = config.teacher.config
    kept = inner.model.args.to_dict()
    if before is not None:
        with inner.unlocked():
            inner.model.args.shape = before
    section = "teacher.config.model.args."
    settings.override(
        config, {f"{section}{key}": value for key, value in given.items()}
    )
    found = inner.model.args.to_dict()
    assert found.pop("shape") == after
    assert found == kept
    assert "shape" not in config.model.args


def test_settings_of_a_transformer_are_named():
    config = get("maf_gas", "smoke")
    settings.override(
        config, {"model.args.transformer": "spline", "model.args.transformer.bins": 4}
    )
    settings.check(config)
    settings.override(config, {"model.args.transformer.bns": 4})
    says = r"model\.args\.transformer=.*'spline' has no 'bns'; it has bins, box"
    with pytest.raises(ConfigError, match=says):
        settings.check(config)


def test_keys_within_arguments_on_a_command_line():
    words = [
        "--config.model.args.transformer.bins=16",
        "--config.data.args.kinds.a=log",
    ]
    rest, given = settings.split_flags(words)
    assert rest == []
    assert given == {"model.args.transformer.bins": 16, "data.args.kinds.a": "log"}


def test_unknown_keys_name_the_nearest():
    config = get("maf_gas", "smoke")
    with pytest.raises(ConfigError, match=r"key: train.stepz; near it are train.steps"):
        settings.override(config, {"train.stepz": 3})
    with pytest.raises(ConfigError, match=r"; train has steps, .*batch_size"):
        settings.override(config, {"train.stepz": 3})
    with pytest.raises(ConfigError, match=r"a config has seed, .*model"):
        settings.override(config, {"sed": 3})
    with pytest.raises(ConfigError, match="override seed='x'"):
        settings.override(config, {"seed": "x"})


def unlocked(name, arg):
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
    config = unlocked("srflow_bsds300", "student")
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
    config = unlocked("srflow_photographs", "smoke")
    config.data.args.rows = 8
    says = r"pretrained.config has other data: data.args.rows \(None there, 8 here\)"
    with pytest.raises(ConfigError, match=says):
        settings.check(config)
    config.pretrained.other_data = True
    settings.check(config)
    # That of a teacher too.
    config = unlocked("srflow_photographs", "student,smoke")
    config.teacher.config.pretrained.config.data.args.rows = 8
    with pytest.raises(ConfigError, match=r"teacher.config.pretrained.config has"):
        settings.check(config)


def test_a_study_on_few_rows_says_so():
    config = unlocked("recipes", "maf,bsds300,few")
    assert config.teacher.other_data
    settings.check(config)
