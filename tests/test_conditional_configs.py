"""Configs of conditional flows: they build, pass the checks, fit and count right."""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import waveglow
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.ops import trees
from fdnf.train import models, preprocess, settings

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
SYNTHETIC = {"srflow": "synthetic_pairs", "waveglow": "synthetic_speech"}
NAMES = sorted(path.stem for kind in SYNTHETIC for path in FOLDER.glob(f"{kind}_*.py"))
# Name of the data set, by what the file's name says of it.
DATA = {
    "div2k": "div2k",
    "bsds300": "bsds300_sr",
    "photographs": "photographs",
    "ljspeech": "ljspeech",
    "asterisk": "asterisk",
}
RATES = {"ljspeech": 22_050, "asterisk": 8000, "synthetic_speech": 22_050}
# Baranchuk et al. (2021), tables 1, 2 and 4; the released SRFlow holds 276,576 weights
# more, which nothing uses. The encoders are the RRDB rows.
COUNTS = {
    ("srflow", "x4"): 39_541_811 - 276_576,
    ("srflow", "x8"): 50_821_891 - 276_576,
    ("rrdb", "x4"): 16_697_987,
    ("rrdb", "x8"): 16_734_915,
    ("srflow_student", "x4"): 20_393_177,
    ("srflow_student", "x8"): 16_157_116,
    "waveglow": 87_731_816,
    "v1": 9_529_992,
    "v2": 6_348_776,
    "v3": 3_175_208,
    "flow": 6_277_952,
    "wide_flow": 6_367_592,
    "affine": 6_282_592,
}
# Words beside those of the model's size.
STUDENTS = {
    "div2k": ("srflow_student",),
    "bsds300": ("srflow_student", "srflow_student_l1"),
    "photographs": ("srflow_student", "srflow_student_l1"),
    "ljspeech": tuple(waveglow.STUDENTS),
    "asterisk": tuple(waveglow.STUDENTS),
}


def parts(name):
    """Kind of flow, data, and whether it is of students."""
    kind, about, *rest = name.split("_")
    return kind, about, rest == ["student"]


def variants():
    for name in NAMES:
        kind, about, student = parts(name)
        sizes = ("", "small") if kind == "waveglow" else ("",)
        sizes = ("x4", "x8") if about == "div2k" else sizes
        roles = STUDENTS[about] if student else ("teacher",)
        roles += ("pretrained",) * (kind == "srflow" and not student)
        args = ["", "smoke"]
        args += [f"{size},{role}" for size in sizes for role in roles]
        args += [f"{role},smoke" for role in roles]
        args += ["x8,smoke"] * (about == "div2k")
        for arg in (arg.strip(",") for arg in args):
            yield pytest.param(name, arg, id=f"{name}:{arg}")


def get(name, arg=""):
    return importlib.import_module(f"configs.{name}").get_config(arg)


def prepared(config):
    """The config's event and preprocessing, by data of its shape that say nothing."""
    given = config.data.args
    if "segment" in given:
        rows = np.zeros((1, given.segment), np.int16)
        data = Clips("none", rows, rows, (), (), "", RATES[config.data.name])
    else:
        high = np.zeros((1, given.crop, given.crop, 3), np.uint8)
        low = high[:, :: given.scale, :: given.scale]
        data = Pairs("none", high, low, high, low, (), "", given.scale)
    return data.event, preprocess.make(config.data, data)


@functools.cache
def shapes(model, event, cond):
    x, cond = (jax.ShapeDtypeStruct((2, *s), jnp.float32) for s in (event, cond))
    init = functools.partial(models.init, model)
    return jax.eval_shape(init, jax.random.key(0), x, cond)


def variables_of(config):
    """Shapes of the variables of the config's model on rows of its data."""
    model = models.build(config.model)
    assert hash(model) == hash(models.build(config.model))
    event, preprocess = prepared(config)
    return shapes(model, event, preprocess.condition_shape(event))


def check_shared(config, kind):
    """A student's latents are its teacher's, and so is what it inherits."""
    student, teacher = (models.build(c.model) for c in (config, config.teacher.config))
    event, _ = prepared(config)
    assert student.latent_shapes(event) == teacher.latent_shapes(event)
    ours, theirs = variables_of(config), variables_of(config.teacher.config)
    if kind == "waveglow":
        assert ours["constants"]["upsampler"] == theirs["params"]["upsampler"]
    elif student.inherits:
        assert ours["params"]["encoder"] == theirs["params"]["encoder"]


def test_one_file_for_each_model_and_data_set():
    data = {"srflow": ("bsds300", "div2k", "photographs")}
    data |= {"waveglow": ("asterisk", "ljspeech")}
    assert NAMES == [
        f"{kind}_{about}{suffix}"
        for kind, all_of_it in data.items()
        for about in all_of_it
        for suffix in ("", "_student")
    ]


@pytest.mark.parametrize(("name", "arg"), list(variants()))
def test_config(name, arg):
    kind, about, student = parts(name)
    words = set(arg.split(","))
    config = get(name, arg).lock()
    settings.check(config)
    smoke = "smoke" in words
    assert config.data.name == (SYNTHETIC[kind] if smoke else DATA[about])
    if student:
        named = [word for word in words if word in STUDENTS[about]]
        assert config.role == "student"
        assert config.label == (named or [config.label])[0]
        assert tuple(config.study.methods) == STUDENTS[about]
        assert set(config.study.recipes) == set(STUDENTS[about])
        taught = config.teacher.config
        assert (taught.role, taught.data.name) == ("teacher", config.data.name)
        check_shared(config, kind)
    else:
        assert config.role == ("pretrained" if "pretrained" in words else "teacher")

    params = variables_of(config)["params"]
    if config.get("pretrained"):
        before = variables_of(config.pretrained.config)["params"]
        assert before["encoder"] == params["encoder"]
    if about in ("div2k", "ljspeech") and not words & {"smoke", "small"}:
        assert trees.parameter_count(params) == COUNTS[row(kind, config, words)]

    values = settings.to_dict(config)
    again = settings.from_dict(values)
    assert settings.to_dict(again) == values
    assert models.build(again.model) == models.build(config.model)
    with pytest.raises(AttributeError, match="stepz"):
        config.train.stepz = 3


def row(kind, config, words):
    """Of COUNTS, that of a config at the papers' size."""
    if kind == "waveglow":
        return config.label or config.model.name
    return config.model.name, "x8" if "x8" in words else "x4"


@pytest.mark.parametrize(
    ("name", "arg", "message"),
    [
        ("srflow_div2k", "x2", r"unknown variant \['x2'\]"),
        ("srflow_bsds300", "x8", r"unknown variant \['x8'\]"),
        ("waveglow_ljspeech_student", "v4", r"unknown variant \['v4'\]"),
        ("waveglow_asterisk_student", "v1,v2", "give one student of"),
        ("srflow_photographs_student", "pretrained", "for the teacher's config"),
    ],
)
def test_unknown_words_are_refused(name, arg, message):
    with pytest.raises(ValueError, match=message):
        get(name, arg)
