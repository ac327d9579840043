"""Exported samplers of trained workdirs, run by an interpreter that has only jax."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest

from configs import common
from fdnf.evaluation.export import write as export
from fdnf.train import models, preprocess, settings, teachers, validation
from fdnf.train.checkpoint import Checkpointer
from fdnf.train.preprocess import Preprocess
from fdnf.train.settings import ConfigError
from tests import floats, tiny

# jax and what it needs.
ALLOWED = ("jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy")
CLASSES = 3
ROWS = 4

# Runs the snippet of each folder as it stands, and the sampler with a condition.
SCRIPT = """
import json, os, sys
links, *folders = sys.argv[1:]
sys.path.insert(0, links)
for name in ("fdnf", "flax", "flatbuffers", "orbax", "ml_collections"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} can be imported")
for folder in folders:
    os.chdir(folder)
    sys.path.insert(0, folder)
    with open("sampler.json") as file:
        told = json.load(file)
    names = {}
    exec(told["python"], names)
    np, load = names["np"], names["load"]
    np.save("x.npy", names["x"])
    if "density" in told["programs"]:
        np.save("p.npy", names["p"])
    if "proposals" in told["programs"]:
        np.save("y.npy", names["y"])
    key = np.array([0, 5], np.uint32)
    if len(told["programs"]["sampler"]["inputs"]) == 2:
        cond = np.load("cond.npy")
        np.save("given.npy", load.program(".")(key, cond))
        rows, cond = 2, (cond[:2],)
    else:
        rows, cond = told["programs"]["decoder"]["inputs"][0]["shape"][0], ()
        rows = 2 if rows == "batch" else rows
    z = [
        np.full((rows, *each["shape"][1:]), 0.5, each["dtype"])
        for each in told["programs"]["decoder"]["inputs"]
        if each["name"] != "cond"
    ]
    np.save("decoded.npy", load.program(".", "decoder")(*z, *cond))
    load.check(".")
"""


class Case(NamedTuple):
    config: object
    event: tuple[int, ...]
    preprocess: Preprocess


def image_config(name, **args):
    config = common.images()
    config.data.name = "synthetic_images"
    config.model.update(name=name, args=args)
    config.eval.update(time_batch=ROWS, temperatures=(0.7, 1.0))
    return config


def vector_config():
    """Of a student, whose teacher is in its own workdir."""
    config = tiny.config()
    config.model = {"name": "nice", "args": {"steps": 2, "hidden": (4,)}}
    config.eval.update(time_batch=ROWS, temperature=0.8)
    with config.unlocked():
        config.teacher = {"workdir": ""}
    return config


CASES = {
    "nice": Case(vector_config(), (3,), Preprocess()),
    "resnet": Case(
        image_config("resnet", hidden=4, blocks=1), (4, 4, 1), Preprocess(256, bits=5)
    ),
    "glow": Case(
        image_config("glow", levels=2, steps=2, hidden=4),
        (4, 4, 1),
        Preprocess(256, margin=0.05, classes=CLASSES),
    ),
}


def workdir(path, case, off=0.0):
    """As training leaves it, with weights that nobody trained, some of them off."""
    model = models.build(case.config.model)
    x = jax.ShapeDtypeStruct((8, *case.event), np.float32)
    shape = case.preprocess.condition_shape(case.event)
    cond = None if shape is None else jax.ShapeDtypeStruct((8, *shape), np.float32)
    key = jax.random.key(0)
    made = jax.eval_shape(lambda x, cond: models.init(model, key, x, cond), x, cond)
    rng = np.random.default_rng(0)
    params, constants = (
        jax.tree.map(
            lambda leaf: 0.2 * rng.normal(size=(1, *leaf.shape)).astype(np.float32),
            made.get(collection, {}),
        )
        for collection in ("params", "constants")
    )
    params = jax.tree.map(lambda leaf: leaf + off * rng.random(leaf.shape, "f"), params)
    for level in constants.values():
        drawn = level["parts_1"]["step"]["parts_1"]
        eye = np.eye(drawn["permutation"].shape[-1], dtype=np.float32)
        drawn["permutation"] = np.broadcast_to(eye, drawn["permutation"].shape)
        drawn["sign"] = np.ones_like(drawn["sign"])
    best = validation.first_best(params, constants, 1)
    meta = {
        "config": settings.to_dict(case.config),
        "event": list(case.event),
        "preprocess": preprocess.describe(case.preprocess),
    }
    with Checkpointer(path) as checkpointer:
        checkpointer.save(6, {"w": np.zeros(2)}, best, meta)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where each case is exported, after the interpreter with jax alone was there."""
    root = tmp_path_factory.mktemp("alone")
    links = root / "links"
    links.mkdir()
    for name in ALLOWED:
        package = pathlib.Path(importlib.util.find_spec(name).origin).parent
        libraries = package.with_name(f"{name}.libs")
        for path in (package, libraries) if libraries.exists() else (package,):
            (links / path.name).symlink_to(path)
    found = {}
    for name, case in CASES.items():
        workdir(root / name, case)
        if name == "nice":
            workdir(root / name / "teacher", case, 0.05)
        paths = export.write(case.config, root / name)
        found[name] = paths[0].parent
        if case.preprocess.classes:
            np.save(found[name] / "cond.npy", condition())
    command = [sys.executable, "-I", "-S", "-c", SCRIPT, links, *found.values()]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment | {"JAX_PLATFORMS": "cpu"},
        cwd=links,
    )
    assert done.returncode == 0, done.stderr
    return found


def condition():
    return np.eye(CLASSES, dtype=np.float32)[np.arange(ROWS) % CLASSES]


@pytest.mark.parametrize("name", CASES)
def test_what_it_drew_is_what_we_draw(folders, name):
    case, folder = CASES[name], folders[name]
    trained = teachers.load(folder.parents[1])
    model, stored = teachers.run_of(trained)
    variables = jax.device_put(stored)
    temperature = 0.8 if name == "nice" else 0.7

    @jax.jit
    def draw(key, cond):
        shape = (ROWS, *case.event)
        x = model.apply(variables, key, shape, temperature, cond, method="sample")
        return trained.preprocess.to_stored(x)

    @jax.jit
    def decode(z, cond):
        x = model.apply(variables, z, cond, method="decode").x
        return trained.preprocess.to_stored(x)

    @jax.jit
    def density(x, key, cond):
        y, log_det = trained.preprocess.encode(key, x)
        return model.apply(variables, y, cond, method="log_prob") + log_det

    cond = zeros = None
    if case.preprocess.classes:
        cond, zeros = condition(), np.zeros((ROWS, CLASSES), np.float32)
        same(np.load(folder / "given.npy"), draw(jax.random.key(5), cond))
    drawn = np.load(folder / "x.npy")
    same(drawn, draw(jax.random.key(7), zeros))
    assert len(np.unique(drawn)) > 4
    if name != "resnet":
        found = density(drawn, jax.random.key(7), zeros)
        assert np.isfinite(found).all()
        floats.assert_close(np.load(folder / "p.npy"), found, rtol=1e-5)
    rows = len(np.load(folder / "decoded.npy"))
    parts = model.latent_shapes(case.event)
    z = tuple(np.full((rows, *part), 0.5, np.float32) for part in parts)
    given = None if cond is None else cond[:rows]
    same(np.load(folder / "decoded.npy"), decode(z, given))


def test_a_student_draws_of_its_teacher_alone(folders):
    folder = folders["nice"]
    told = export.check(folder)
    assert 1 <= told["exact"]["steps"] < 30
    assert told["exact"]["told"] == []
    assert told["exact"]["ess_share"] > 0.5
    programs = {"sampler", "decoder", "density", "proposals", "teacher_density"}
    assert told["programs"].keys() == programs
    names = [each["name"] for each in told["programs"]["proposals"]["outputs"]]
    assert names == ["x", "log_weight"]
    drawn = np.load(folder / "y.npy")
    assert drawn.shape == (ROWS, 3)
    np.testing.assert_allclose(export.exact(folder)(7, ROWS), drawn, atol=1e-5)
    teacher = teachers.load(folder.parents[1] / "teacher")
    density = export.program(folder, "teacher_density")
    floats.assert_close(density(drawn), teacher.log_prob(drawn), rtol=1e-5)
    with pytest.raises(KeyError, match="exported without a teacher"):
        export.exact(folders["glow"])


def same(ours, theirs):
    theirs = np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    if ours.dtype == np.uint8:
        # A rounding error may take a value over the edge of a grey level.
        np.testing.assert_array_less(abs(ours.astype(int) - theirs), 2)
        assert np.mean(ours == theirs) > 0.9
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def test_what_is_told_of_a_workdir(folders):
    told = json.loads((folders["glow"] / "sampler.json").read_text())
    assert told["name"] == "glow_synthetic_images teacher"
    assert (told["run"], told["step"], told["temperature"]) == (0, 0, 0.7)
    assert told["model"]["args"] == {"levels": 2, "steps": 2, "hidden": 4}
    assert told["preprocess"]["margin"] == 0.05
    # Folded: neither activation norms nor triangular factors are left.
    assert not [name for name in told["weights"]["arrays"] if "lower" in name]
    (output,) = told["programs"]["sampler"]["outputs"]
    assert output == {"name": "x", "shape": [ROWS, 4, 4, 1], "dtype": "uint8"}
    key, cond = told["programs"]["sampler"]["inputs"]
    assert (cond["name"], cond["shape"]) == ("cond", [ROWS, CLASSES])
    assert told["files"].keys() == {
        *("sampler.stablehlo", "decoder.stablehlo", "density.stablehlo"),
        *("weights.npz", "load.py"),
    }
    x, key, cond = told["programs"]["density"]["inputs"]
    # Of any number of rows; where shapes are looked at, as in tests, of those of one.
    assert (x["name"], x["shape"][1:], x["dtype"]) == ("x", [4, 4, 1], "uint8")
    assert (key["name"], cond["name"]) == ("key", "cond")
    (output,) = told["programs"]["density"]["outputs"]
    assert output == {"name": "log_prob", "shape": x["shape"][:1], "dtype": "float32"}
    # A feed-forward student has none.
    told = json.loads((folders["resnet"] / "sampler.json").read_text())
    assert told["programs"].keys() == {"sampler", "decoder"}
    assert "density" not in told["python"]


def test_no_rows(folders):
    config = vector_config()
    config.eval.time_batch = 0
    with pytest.raises(ConfigError, match=r"eval\.time_batch=0: expected at least 1"):
        export.write(config, folders["nice"].parents[1])
