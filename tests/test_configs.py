"""Every config file: it builds, passes the checks, has the papers' size, and trains."""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import trees
from fdnf.train import loop, models, objectives, settings
from fdnf.train.writers import read_log

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
# Those of conditional flows have a test of their own.
CONDITIONAL = ("srflow_", "waveglow_")
NAMES = sorted(
    path.stem
    for path in FOLDER.glob("*_*.py")
    if path.stem != "__init__" and not path.stem.startswith(CONDITIONAL)
)
DIMS = {
    "power": 6,
    "gas": 8,
    "hepmass": 21,
    "miniboone": 43,
    "bsds300": 63,
    "patches": 63,
    "synthetic": 6,
}
# Walton et al. (2023), tables 1 and 2, by dimension.
COUNTS = {
    ("glow", "student"): {6: 13_794, 8: 14_184, 21: 17_355, 43: 24_945, 63: 34_365},
    ("glow", "teacher"): {6: 86_670, 8: 87_800, 21: 96_285, 43: 114_215, 63: 134_715},
    ("maf", "student"): {6: 5_028, 8: 5_616, 21: 9_438, 43: 15_906, 63: 21_786},
    # The same network run the other way.
    ("iaf", "student"): {6: 5_028, 8: 5_616, 21: 9_438, 43: 15_906, 63: 21_786},
    ("maf", "teacher"): {6: 10_056, 8: 11_232, 21: 18_876, 43: 31_812, 63: 43_572},
}
# Name of the file to name of the set and shape of one image.
IMAGES = {
    "cifar10": ("cifar10", (32, 32, 3)),
    "celeba64": ("celeba64", (64, 64, 3)),
    "mnist": ("mnist", (28, 28, 1)),
    "fashion_mnist": ("fashion_mnist", (28, 28, 1)),
    "digits": ("digits_8x8", (8, 8, 1)),
}
# Walton et al. (2023), table 5, as their released code counts.
IMAGE_COUNTS = {
    ("cifar10", "student"): 11_040_528,
    ("cifar10", "teacher"): 44_152_176,
    ("celeba64", "student"): 7_946_544,
    ("celeba64", "teacher"): 44_152_176,
}
PLAIN = ("", "teacher", "student", "smoke", "student,smoke")
TRANSFERRED = ("", "kl", "z", "x", "oracle", "smoke", "kl,smoke", "oracle,smoke")
# Those of images have feed-forward students too.
FREE = ("resnet_l2", "resnet_noise_mixed", "resnet_noise_l1,smoke")
DISTILLED = ("", "lkd", "ilkd", "skd", "skd,official", "smoke", "ilkd,official,smoke")


def variants():
    for name in NAMES:
        suffix = name.rsplit("_", 1)[1]
        for arg in {"distill": DISTILLED, "pdd": TRANSFERRED}.get(suffix, PLAIN):
            yield pytest.param(name, arg, id=f"{name}:{arg}")
        if suffix == "pdd" and name.startswith("pixelcnn"):
            for arg in FREE:
                yield pytest.param(name, arg, id=f"{name}:{arg}")


def get(name, arg=""):
    return importlib.import_module(f"configs.{name}").get_config(arg)


def about(name):
    """What the name of a file says of its data: the rest after model and suffix."""
    return name.split("_", 1)[1].removesuffix("_distill").removesuffix("_pdd")


@functools.cache
def size(flow, *event):
    x = jax.ShapeDtypeStruct((4, *event), jnp.float32)
    init = functools.partial(models.init, flow)
    variables = jax.eval_shape(init, jax.random.key(0), x)
    return trees.parameter_count(variables["params"])


def check_size(config, name):
    flow = models.build(config.model)
    assert hash(flow) == hash(models.build(config.model))
    if about(name) in IMAGES:
        small = config.data.name == "synthetic_images"
        event = (8, 8, 1) if small else IMAGES[about(name)][1]
        found = size(flow, *event)
        if not small and name.startswith("glow"):
            assert found == IMAGE_COUNTS.get((about(name), config.role), found)
        return
    counts = COUNTS[name.split("_")[0], config.role]
    dim = DIMS[config.data.name]
    assert size(flow, dim) == counts[dim]


def test_one_file_for_each_model_and_data_set():
    data = sorted(set(DIMS) - {"synthetic"})
    expected = [
        f"{model}_{name}{suffix}"
        for model in ("glow", "maf")
        for name in data
        for suffix in ("", "_distill")
    ]
    expected += [
        f"glow_{name}{suffix}" for name in IMAGES for suffix in ("", "_distill")
    ]
    expected += [
        f"pixelcnn_{name}{suffix}"
        for name in ("digits", "mnist", "fashion_mnist", "cifar10")
        for suffix in ("", "_pdd")
    ]
    expected += [f"mintnet_{name}" for name in ("digits", "mnist")]
    expected += [f"iaf_{name}_pdd" for name in ("patches", "bsds300", "miniboone")]
    assert sorted(NAMES) == sorted(expected)


@pytest.mark.parametrize(("name", "arg"), list(variants()))
def test_config(name, arg):
    config = get(name, arg).lock()
    settings.check(config)
    words = arg.split(",")
    distilled = name.endswith(("_distill", "_pdd"))
    if about(name) in IMAGES:
        data = "synthetic_images" if "smoke" in words else IMAGES[about(name)][0]
    else:
        data = "synthetic" if "smoke" in words else about(name)
    assert config.data.name == data
    student = distilled or "student" in words
    assert config.role == ("student" if student else "teacher")
    check_size(config, name)
    if distilled:
        methods = [word for word in words if word in objectives.METHODS]
        transferred = name.endswith("_pdd")
        default = "x" if transferred else "ilkd"
        assert config.loss.method == (methods or [default])[0]
        official = "official" in words
        if not transferred:
            assert config.loss.preset == ("official" if official else "paper")
        taught = config.teacher.config
        assert (taught.role, taught.data.name) == ("teacher", data)
        check_size(taught, name.replace("iaf", "maf"))
    values = settings.to_dict(config)
    again = settings.from_dict(values)
    assert settings.to_dict(again) == values
    assert models.build(again.model) == models.build(config.model)
    with pytest.raises(AttributeError, match="stepz"):
        config.train.stepz = 3


@pytest.mark.parametrize("name", ["glow_cifar10", "glow_mnist"])
def test_variants_of_images(name):
    config = get(name, "student,n_bits=5,logit,bf16")
    settings.check(config)
    assert config.data.n_bits == 5
    assert config.data.logit == (0.05 if name == "glow_cifar10" else 1e-6)
    assert config.model.args.dtype == "bfloat16"
    distilled = get(f"{name}_distill", "skd,n_bits=5,official")
    settings.check(distilled)
    assert distilled.data.n_bits == distilled.teacher.config.data.n_bits == 5
    assert distilled.loss.units == "bits_per_dim"


def test_teacher_of_61_million_weights():
    config = get("glow_celeba64", "teacher,61m")
    assert size(models.build(config.model), 64, 64, 3) == 61_178_832


@pytest.mark.parametrize("name", ["maf_gas", "maf_gas_distill", "glow_mnist"])
def test_unknown_variant(name):
    with pytest.raises(ValueError, match=r"unknown variant \['smok'\]; known: .*smoke"):
        get(name, "smok")


def test_two_methods():
    with pytest.raises(ValueError, match="give one method"):
        get("maf_gas_distill", "lkd,skd")


@pytest.fixture(scope="module", params=["maf", "glow"])
def taught(request, tmp_path_factory):
    """A teacher of two steps, trained by two calls."""
    config = get(f"{request.param}_patches", "smoke")
    workdir = tmp_path_factory.mktemp(request.param)
    loop.train_and_evaluate(two_calls(config, steps=2), workdir)
    return request.param, workdir


def two_calls(config, steps):
    config.model.args.steps = steps
    config.train.update(steps=4, steps_per_call=2, log_every=2, eval_every=4)
    return config


@pytest.mark.parametrize("method", ["nll", "lkd", "ilkd", "skd"])
def test_smoke_trains(method, taught, tmp_path):
    model, teacher = taught
    if method == "nll":
        config = get(f"{model}_patches", "student,smoke")
    else:
        config = get(f"{model}_patches_distill", f"{method},smoke")
        config.teacher.workdir = str(teacher)
    if method == "skd":
        config.loss.skd.start = 0.0
    loop.train_and_evaluate(two_calls(config, steps=1), tmp_path)
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [2, 4]
    assert np.isfinite([row["loss"] for row in rows]).all()
    assert np.isfinite(rows[-1]["val_log_prob"]).all()
    assert all(row[method][0] > 0 for row in rows)
    if method == "skd":
        assert all(row["rejected"][0] < 0.5 for row in rows)


@pytest.mark.parametrize("method", ["kl", "z", "x", "oracle"])
def test_smoke_of_a_transfer(method, taught, tmp_path):
    model, teacher = taught
    if model != "maf":
        pytest.skip("the teacher of an IAF is a MAF")
    config = get("iaf_patches_pdd", f"{method},smoke")
    config.teacher.workdir = str(teacher)
    config.loss.transfer.warm = 0.5
    loop.train_and_evaluate(two_calls(config, steps=1), tmp_path)
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [2, 4]
    assert np.isfinite([row["loss"] for row in rows]).all()
    # Half of it by x-reconstruction, where the method needs a start.
    warm = method in ("kl", "z")
    assert (rows[0]["x" if warm else method][0]) > 0
    assert rows[1][method][0] > 0
    assert [row.get("warm", [None])[0] for row in rows] == (
        [1.0, 0.0] if warm else [None, None]
    )


@pytest.mark.parametrize("arg", ["maf,bsds300", "glow,digits", "glow,fashion_mnist"])
def test_recipes_name_keys_of_their_config(arg):
    config = get("recipes", arg)
    settings.check(config)
    assert set(config.study.recipes) <= set(config.study.methods)
    for recipe in config.study.recipes.values():
        for key in recipe.to_dict():
            *path, last = key.split("/")
            section = functools.reduce(lambda part, name: part[name], path, config)
            assert last in section
