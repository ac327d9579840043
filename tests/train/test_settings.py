"""What a config must hold, and its way through JSON."""

import json

import pytest

from configs import waveglow_asterisk
from fdnf.train import settings
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


def test_a_feed_forward_student_has_no_pool_of_samples():
    config = waveglow_asterisk.get_config("student,v3")
    config.teacher.samples = 100
    with pytest.raises(ConfigError, match=r"teacher.samples=100: .* set it to 0"):
        settings.check(config)
