"""Trained flows as teachers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import build as flows
from fdnf.ops import mel
from fdnf.train import preprocess, settings, teachers, validation
from fdnf.train.checkpoint import Checkpointer, CheckpointError
from fdnf.train.preprocess import Preprocess, Speech, SuperResolution
from fdnf.train.settings import ConfigError
from tests import floats, tiny

CONFIG = tiny.config()
FLOW = flows.build(CONFIG.model)
X = jax.random.normal(jax.random.key(9), (64, 3))


@functools.cache
def variables(runs):
    """Runs that differ in where their samples lie: x is z + 10 r in the first run."""
    keys = jax.random.split(jax.random.key(0), runs)
    shifts = 10.0 * jnp.arange(runs)[:, None, None]
    return jax.jit(jax.vmap(FLOW.init))(keys, X + shifts)


META = {"event": [3], "preprocess": {}}
SHORT = mel.Settings(hop=128)


def trained(runs):
    return teachers.Trained(FLOW, variables(runs), CONFIG, META)


@pytest.mark.parametrize("runs", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_what_was_saved_is_loaded(tmp_path, runs):
    params = variables(runs)["params"]
    best = validation.first_best(params, {}, runs)
    meta = {"config": settings.to_dict(CONFIG), **META, "data": "synthetic"}
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(6, {"w": np.zeros(2)}, best, meta)
    loaded = teachers.load(tmp_path)
    assert loaded.flow == FLOW
    assert hash(loaded.flow) == hash(FLOW)
    assert (loaded.runs, loaded.event) == (runs, (3,))
    assert loaded.preprocess == Preprocess()
    jax.tree.map(np.testing.assert_array_equal, loaded.variables["params"], params)
    flow, one = teachers.run_of(loaded, runs - 1)
    expected = jax.tree.map(lambda leaf: leaf[-1], params)
    log_prob = jax.jit(functools.partial(flow.apply, method="log_prob"))
    floats.assert_close(log_prob(one, X), log_prob({"params": expected}, X))


def test_missing_workdir(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere does not exist: give the"):
        teachers.load(tmp_path / "nowhere")


def test_workdir_without_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no checkpoint"):
        teachers.load(tmp_path)


def test_one_run_teaches_all():
    given, by_run = teachers.match(trained(1), (3,), runs=4)
    assert not by_run
    shapes = jax.eval_shape(FLOW.init, jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, given) == jax.tree.map(jnp.shape, shapes)


def test_as_many_runs_teach_one_by_one():
    given, by_run = teachers.match(trained(3), (3,), runs=3)
    assert by_run
    assert jax.tree.leaves(given)[0].shape[0] == 3


def test_another_number_of_runs():
    with pytest.raises(ConfigError, match=r"teacher has 3 runs, the student 2"):
        teachers.match(trained(3), (3,), runs=2)


def test_another_dimension():
    with pytest.raises(ConfigError, match=r"data of shape \(3,\), .* shape \(8,\)"):
        teachers.match(trained(1), (8,), runs=1)


@pytest.mark.parametrize(
    ("prepared", "event", "other", "unlike"),
    [
        (
            SuperResolution(scale=4, crop=32, flip=True),
            (32, 32, 3),
            {"crop": 16, "flip": False},
            {"scale": 8},
        ),
        (Speech(256, mel.DEFAULT), (256, 1), {"segment": 128}, {"mel": SHORT}),
    ],
)
def test_windows_of_another_size(prepared, event, other, unlike):
    meta = {"event": event, "preprocess": preprocess.describe(prepared)}
    teacher = trained(1)._replace(meta=meta)
    smaller = tuple(n // 2 if n > 3 else n for n in event)
    ours = dataclasses.replace(prepared, **other)
    _, by_run = teachers.match(teacher, smaller, 1, ours)
    assert not by_run
    with pytest.raises(ConfigError, match="give both the same `data` section"):
        teachers.match(teacher, event, 1, dataclasses.replace(prepared, **unlike))
    with pytest.raises(ConfigError, match="the teacher saw"):
        teachers.match(teacher, event, 1)
