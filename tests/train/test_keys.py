"""The table of keys: every bad value is refused before data are loaded."""

import ast
import copy
import functools
import importlib
import json
import math
import pathlib
import re

import pytest

from configs import common
from fdnf.data import build as datasets
from fdnf.experiments import study
from fdnf.train import faults, keys, loop, objectives, rules, settings
from fdnf.train.settings import ConfigError
from tests import test_configs, tiny

ROOT = pathlib.Path(__file__).parents[2]
INF, NAN = math.inf, math.nan


def get(name, arg):
    return importlib.import_module(f"configs.{name}").get_config(arg)


BASES = {
    "vectors": lambda: tiny.config("skd"),
    "plain": tiny.config,
    "images": lambda: get("glow_digits", "skd,smoke"),
    "pdd": lambda: get("maf_patches", "iaf,kl,smoke"),
    "guided": lambda: get("maf_patches", "iaf,guided,smoke"),
    "sr": lambda: get("srflow_bsds300", "smoke"),
    "sr_student": lambda: get("srflow_bsds300", "student,smoke"),
    "speech": lambda: get("waveglow_asterisk", "smoke"),
    "speech_student": lambda: get("waveglow_asterisk", "student,smoke"),
}
WRONG = {
    "vectors": {
        "seed": (-1, 2**32, 0.5, "0", None, True),
        "runs": (0, -1, 1e12, 2.5),
        "role": ("", "a/b", None),
        "label": ("a/b", "..", "a\nb", "a\\b", ".", "x" * 200, 3, "\x00", " a"),
        "model.name": ("vae", "", None, ("maf",)),
        "model.args.steps": (0, -1, 1.5, "3", 10**9),
        "model.args.hidden": ((), (0,), 0, (8, -8), (1e9,)),
        "model.args": (3, "x"),
        "data.name": ("minst", "", None),
        "data.args.rows": (0, -5, 0.5),
        "data.args.dim": (0, None),
        "data.args.seed": (-1, 2**32),
        "optim.name": ("sgd", None),
        "optim.lr": (0.0, -1e-3, INF, NAN, "fast"),
        "optim.schedule": ("linear",),
        "optim.warmup": (-0.1, NAN, INF, 12.0, 1.5),
        "optim.final": (-0.1, 1.1, NAN),
        "optim.weight_decay": (-1.0, NAN, 0.1),
        "optim.b1": (1.0, 2.0, -0.1, NAN),
        "optim.b2": (1.0, 2.0, -0.1, NAN),
        "optim.eps": (0.0, NAN, INF, -1e-8),
        "optim.clip": (-1.0, NAN, INF),
        "optim.ema": (1.0, -0.1, NAN),
        "train.steps": (0, -3, 1e12, 10**12, 3.5, NAN),
        "train.batch_size": (0, -1, 10**9, 1.0),
        "train.steps_per_call": (0, 5),
        "train.log_every": (0, -1),
        "train.eval_every": (0, 4),
        "train.keep": (0, -1),
        "train.init_rows": (0,),
        "train.max_bad_steps": (0,),
        "train.pack": ("all", 3),
        "loss.method": ("vlkd", None),
        "loss.preset": ("mine",),
        "loss.fade": ((1.0,), (1.0, 1.0, 1.0), (0.5, 0.1), (NAN, 1.0), (0.0, 2.0), 1.0),
        "loss.args.weights": (
            (1.0, 0.1),
            (1.0, 0.1, 0.1, 0.1),
            (0.0, 0.0, 0.0),
            (-1.0, 0.1, 0.1),
            (NAN, 0.1, 0.1),
            (INF, 0.1, 0.1),
            1.0,
        ),
        "loss.args.latents": ("all",),
        "loss.args.distance": ("l3", 1),
        "loss.args.sample_distance": ("l3", 1),
        "loss.args.reduction": ("max",),
        "loss.args.pairs": ("nearest", ((0,),), ((0, 1, 2),), (), ((0.5, 1),)),
        "loss.args.over_levels": ("max",),
        "loss.args.every": (0, -1, 1.5),
        "loss.args.parts": ("half",),
        "loss.args.limit": (0.0, -1.0, NAN),
        "loss.args.screen_student": ("yes", 1),
        "loss.skd.start": (NAN, -0.1, 1.1, INF),
        "loss.skd.batch": (0, -1, 10**9, 2.5),
        "loss.skd.temperature": (NAN, 0.0, -1.0, INF),
        "loss.skd.reach": (0.0, -3.0, NAN),
        "teacher.samples": (-1, 10**12, 0.5),
        "teacher.share": (-0.1, 1.5, NAN),
        "teacher": (3,),
        "teacher.workdir": (3, None),
        "teacher.config": (3, {}),
        "teacher.config.seed": (-1,),
        "teacher.config.train.steps": (0,),
        "study.runs": (0, -1),
        "study.methods": ((), 3),
        "study.recipes": (
            3,
            {"a": 3},
            {"a/b": {}},
            {"a": {"loss/nothing": 3}},
            {"a": {"loss/args/weights": (0.0, 0.0, 0.0)}},
            {"a": {"model": {"name": "vae", "args": {}}}},
        ),
        "eval.batch_size": (0, -1),
        "eval.samples": (0, 1, -3, 1.5),
        "eval.temperature": (NAN, -1.0, INF),
        "eval.time_batch": (0, -3),
        "eval.judged_rows": (-1, 0.5),
        "eval.weighed_rows": (-1, None),
        "eval.time_batches": ((0,), 3),
        "optim": (3, None),
        "eval": (None, ()),
    },
    "images": {
        "data.n_bits": (0, 9),
        "data.logit": (0.5, -0.1, NAN),
        "data.flip": (3, "yes"),
        "data.args.levels": (1, 257),
        "data.args.channels": (0, 2, 7),
        "train.accumulate": (0, -1, 0.5),
        "loss.units": ("bits",),
        "eval.samples": (0, 1, -1),
        "eval.temperatures": ((), 1.0, (NAN,), (-1.0,), ((),)),
        "eval.draws": (0, -1),
        "eval.bound": ("exact",),
        "eval.extractors": (("vgg",), "vgg16"),
        "eval.interpolations": (-1,),
        "eval.time_batch": (0,),
        "model.args.dtype": ("float16",),
        "model.args.hidden": ((8, 8), 0),
    },
    "pdd": {
        "loss.transfer.distance": ("l3",),
        "loss.transfer.reduction": ("max",),
        "loss.transfer.temperature": (0.0, NAN, 0.5),
        "loss.transfer.noise": (-1.0, NAN, INF),
        "loss.transfer.warm": (1.0, -0.1, NAN),
        "loss.transfer.expansion": (-1, 0.5),
        "loss.transfer.path": ("no",),
        "loss.transfer.centre": ("origin",),
        "loss.skd.reach": (0.0,),
    },
    "guided": {
        "loss.guided.until": ((), (0.9, 0.9), (0.7, 0.9), (0.5, 0.7, 1.0), 1.0),
        "loss.guided.lr": ((1.0,), (1.0, 0.0), (1.0, NAN)),
        "loss.guided.local": ((1.0,), (1.0, -1.0), (1.0, INF), 1.0),
        "loss.guided.units": ("teachers",),
        "loss.guided.robust": (0.0, -1.0, NAN),
        "loss.guided.kl2": ((0.0, 1.0),),
        "loss.guided.cap": (0.0, NAN),
        "loss.guided.forward_share": (0.0, 1.5),
        "loss.guided.reach": (0.0, INF),
    },
    "sr": {
        "data.bins": (-1, 0.5),
        "data.args.scale": (0,),
        "eval.images": (-1,),
        "eval.samples": (-1,),
        "eval.lpips": ("squeeze",),
        "eval.strips": (-1,),
        "eval.time_repeats": (-1,),
        "eval.export_shape": ((0, 3, 3), 3),
        "pretrained.frozen": (1.0, -0.1, NAN),
        "pretrained.config.train.steps": (0,),
        "model.args.taps": ((-1,), (), (0.5,)),
    },
    "sr_student": {
        "loss.feed_forward.alpha": (-1.0, NAN, INF, 1.0),
        "loss.feed_forward.feature": ("vgg",),
        "loss.feed_forward.temperature": (0.0, NAN),
        "loss.feed_forward.limit": (0.0, NAN),
        "teacher.config.pretrained.config.optim.lr": (INF,),
        "teacher.samples": (100,),
    },
    "speech": {
        "data.noise": (-1.0, NAN),
        "data.mel.n_fft": (0,),
        "data.mel.hop": (0, 128),
        "data.mel.mels": (0,),
        "data.args.segment": (0, 64),  # Of frames of 128.
        "data.args.rate": (0, 4000),  # Below the filters.
        "data.mel.window": (256,),
        "eval.seconds": (-1.0, NAN, 0.01),
        "eval.time_seconds": (0.0, NAN, 0.001),
        "eval.time_repeats": (0,),
        "eval.griffin_lim": (-1,),
    },
    "speech_student": {"loss.feed_forward.stft": ((), ((512, 60),), ((0, 1, 1),))},
}
CASES = [
    pytest.param(base, key, value, id=f"{base}-{key}={value!r}"[:60])
    for base, table in WRONG.items()
    for key, values in table.items()
    for value in values
]


@functools.cache
def stored(base):
    return BASES[base]()


def changed(base, key, value):
    config = copy.deepcopy(stored(base)).unlock()
    *path, last = key.split(".")
    section = config
    for name in path:
        section = section[name]
    with section.ignore_type():
        section[last] = value
    return config


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    def build(config):
        raise AssertionError("data were loaded")

    monkeypatch.setattr(datasets, "build", build)


@pytest.mark.parametrize(("base", "key", "value"), CASES)
def test_bad_values_are_refused_before_data_are_loaded(base, key, value, tmp_path):
    config = changed(base, key, value)
    with pytest.raises(ConfigError) as caught:
        loop.train_and_evaluate(config, tmp_path / "run")
    # What was given, and under which name.
    assert key.rpartition(".")[2] in str(caught.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("base", BASES)
def test_right_ones_get_as_far_as_data(base, tmp_path):
    with pytest.raises(AssertionError, match="data were loaded"):
        loop.train_and_evaluate(copy.deepcopy(stored(base)), tmp_path / "run")


def test_all_faults_are_said_at_once():
    config = changed("vectors", "seed", -1)
    config.optim.lr = NAN
    config.eval.samples = 1
    config.teacher.config.train.keep = 0
    with pytest.raises(ConfigError) as caught:
        settings.check(config)
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 faults in the config:"
    assert lines[1].strip() == (
        "seed=-1: expected a whole number from 0 to 4,294,967,295"
    )
    assert [line.strip().partition("=")[0] for line in lines[2:]] == [
        "optim.lr",
        "eval.samples",
        "teacher.config.train.keep",
    ]


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.stepz", "train.steps"),
        ("optim.learning_rate", ""),
        ("eval.temprature", "eval.temperature"),
        ("sead", "seed"),
        ("loss.args.weight", "loss.args.weights"),
    ],
)
def test_unknown_keys_name_the_nearest(key, near):
    config = changed("vectors", key, 1)
    with pytest.raises(ConfigError, match=rf"{key}: there is no such key.*{near}"):
        settings.check(config)


@pytest.mark.parametrize("key", ["seed", "eval.samples", "optim.lr", "loss.skd.start"])
def test_missing_keys_are_named(key):
    config = copy.deepcopy(stored("vectors")).unlock()
    *path, last = key.split(".")
    section = functools.reduce(lambda part, name: part[name], path, config)
    del section[last]
    with pytest.raises(ConfigError, match=rf"^{key} is missing: expected .*such as"):
        settings.check(config)


def test_a_distillation_method_without_a_teacher_section():
    config = tiny.config()
    config.loss.method = "skd"
    with pytest.raises(ConfigError, match=r"loss\.skd: this section is missing"):
        settings.check(config)
    config = tiny.config("ilkd")
    del config.teacher
    with pytest.raises(ConfigError, match="needs a teacher"):
        settings.check(config)


def test_no_config_at_all():
    for given in (None, 3, "maf"):
        with pytest.raises(ConfigError, match="expected a ConfigDict"):
            settings.check(given)
    with pytest.raises(
        ConfigError, match=r"seed is missing[^$]*model: this section is"
    ):
        settings.check({})


def test_every_run_of_every_study_passes():
    found, seen = {}, set()
    for each in test_configs.variants():
        config = get(*each.values)
        if not objectives.needs_teacher(config):
            continue
        # Most variants of a file have the study of the others.
        own = each.values if each.values[0] == "recipes" else each.values[:1]
        if (own, config.study.methods) in seen:
            continue
        seen.add((own, config.study.methods))
        for method in config.study.methods:
            plan = study._plan(config, method, 1)
            # They are looked at with the config itself, in `test_configs`.
            plan.study.recipes = {}
            told = faults.of(plan)
            # Images of one's own are named on the command line.
            if told := [said for said in told if "args.path is missing" not in said]:
                found[each.id, method] = told
    assert not found


@pytest.mark.parametrize("kind", keys.KINDS)
def test_defaults_fit_their_rules(kind):
    for key, entry in keys.of_kind(kind).items():
        if entry.default is not keys.NONE:
            assert entry.rule.fits(entry.default), key


@pytest.mark.parametrize(
    ("kind", "built"),
    [
        ("vectors", common.tabular),
        ("images", common.images),
        ("super_resolution", common.super_resolution),
        ("speech", common.speech),
    ],
)
def test_defaults_are_those_of_the_configs(kind, built):
    """A stored config that lacks a key was trained by what the configs have."""
    config = built().to_dict()
    for key, entry in keys.KINDS[kind].items():
        if entry.needed != keys.NOBODY:
            value = functools.reduce(
                lambda part, name: part[name], key.split("."), config
            )
            assert entry.default == value, key


def test_every_key_is_read_somewhere():
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "fdnf").rglob("*.py")
        if path.name not in ("keys.py", "faults.py")
    ]
    read = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                read.add(node.target.id)  # Fields of mel.Settings.
            elif isinstance(node, ast.arg):
                read.add(node.arg)  # Arguments of distillation.combined.
    unread = [k for k in keys.of_kind(None) if k.rpartition(".")[2] not in read]
    assert not unread


@pytest.mark.parametrize("model", sorted(rules.MODELS))
def test_a_model_by_default_passes(model):
    table = rules.of_model(model)
    built = rules.MODELS[model]()
    for key, rule in table.items():
        assert rule.fits(getattr(built, key)), key


@pytest.mark.parametrize("data", sorted(datasets.DATASETS))
def test_every_data_set_has_a_kind(data):
    assert rules.kind_of(data) in keys.KINDS
    assert rules.of_data(data)


def test_rules_of_attributes_belong_to_some_model():
    known = {f"{m}.{a}" for m in rules.MODELS for a in rules.of_model(m)}
    short = {name.partition(".")[2] for name in known}
    assert set(rules.ATTRIBUTES) <= known | short
    known = {f"{d}.{a}" for d in datasets.DATASETS for a in rules.of_data(d)}
    short = {name.partition(".")[2] for name in known}
    assert set(rules.ARGUMENTS) <= known | short


def test_a_stored_config_from_before_a_key_has_its_default():
    config = tiny.config("ilkd")
    values = settings.to_dict(config)
    del values["eval"]["time_batch"]
    del values["optim"]["b1"]
    again = settings.from_dict(json.loads(json.dumps(values)))
    assert again.eval.time_batch == 1024
    assert again.optim.b1 == 0.9
    assert again.model.args.hidden == (8,)
    # What may be left out stays out.
    assert "accumulate" not in again.train


def test_the_page_of_keys_is_that_of_the_table():
    page = (ROOT / "configs" / "KEYS.md").read_text(encoding="utf-8")
    assert page == keys.listing(), "python -m fdnf.train.keys > configs/KEYS.md"
    for key in keys.of_kind(None):
        assert re.search(rf"^- {re.escape(key)}\b", page, re.MULTILINE)
