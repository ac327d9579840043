"""The same global batch, whatever the number of devices: rows, noise, samples, loss."""

import functools
import os
import pathlib
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common, glow_digits
from fdnf.data import build as datasets
from fdnf.flows import build as flows
from fdnf.train import (
    loop,
    objectives,
    optim,
    sampling,
    settings,
    shares,
    side_by_side,
    step,
)
from fdnf.train.shares import Share
from fdnf.train.writers import read_log
from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]


def test_shares_together_are_what_is_drawn_for_all():
    def function(rows):
        return {"x": jnp.arange(rows) * 1.5, "y": jnp.arange(3 * rows).reshape(rows, 3)}

    parts = [shares.draw(Share(i, 4), 2, function) for i in range(4)]
    every = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    jax.tree.map(np.testing.assert_array_equal, every, function(8))


def test_one_device_draws_all():
    assert shares.draw(shares.WHOLE, 5, lambda rows: rows) == 5


@pytest.mark.parametrize("generated", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [100, 24])  # Above the batch, and all rows at once.
def test_devices_share_out_one_batch(rows, generated):
    data = {
        "train": jnp.arange(rows),
        "labels": -jnp.arange(rows),
        "generated": 1000 + jnp.arange(50),
        "generated_labels": -1000 - jnp.arange(50),
    }
    key = jax.random.key(0)

    def batch(devices):
        sample = sampling.uniform(rows, 24, devices, generated)
        parts = [sample(key, data, i) for i in range(devices)]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    one = batch(1)
    np.testing.assert_array_equal(one["labels"], -one["x"])
    assert len(one["x"]) == 24
    assert np.mean(one["x"] >= 1000) == pytest.approx(generated, abs=0.5 / 24)
    for devices in (2, 4):
        # Noise is drawn by place in the batch: the order counts too.
        np.testing.assert_array_equal(batch(devices)["x"], one["x"])


def vectors(method="nll", **overrides):
    built = tiny.config(method)
    built.update_from_flattened_dict(overrides)
    return built


def pictures(method="teacher", **overrides):
    """Two levels of one step, width 4, on 4x4 images of three classes, mirrored."""
    built = common.distill(_glow, method) if method == "skd" else _glow(method)
    built.data.flip = True
    built.update_from_flattened_dict(overrides)
    return built


def _glow(arg):
    built = glow_digits.get_config(f"{arg.split(',')[0]},smoke")
    built.model.args.update(steps=1, hidden=4)
    built.data.args.update(size=4, rows=100, classes=3)
    built.train.update(
        steps=4, batch_size=16, steps_per_call=2, log_every=2, eval_every=4
    )
    built.train.init_rows = 16
    built.eval.batch_size = 40
    return built


def transferred(**overrides):
    """Reconstruction of noisy data, whose noise goes with the rows."""
    built = vectors("ilkd", **overrides)
    built.loss = {"method": "x", "transfer": {"noise": 0.5}}
    return built


CASES = {
    "nll": vectors,
    "ilkd": functools.partial(vectors, "ilkd"),
    "skd": functools.partial(vectors, "skd"),
    "teacher's samples": functools.partial(
        vectors, "ilkd", **{"teacher.samples": 60, "teacher.share": 0.3}
    ),
    "parts": functools.partial(vectors, "skd", **{"train.accumulate": 2}),
    "images": pictures,
    "whole set": functools.partial(pictures, **{"train.batch_size": 200}),
    "conditional skd": functools.partial(
        pictures,
        "skd",
        **{"data.conditional": True, "loss.skd.batch": 8, "loss.skd.start": 0.0},
    ),
    "noise in parts": functools.partial(transferred, **{"train.accumulate": 2}),
}


def losses(case, devices):
    """`[steps]`, of two steps, by so many devices."""
    config = CASES[case]()
    data = datasets.build(config.data)
    prepared = settings.preprocessing(config, data)
    flow, teacher, taught = flows.build(config.model), None, {}
    rows = {"x": jnp.asarray(data.train[:16])}
    if prepared.classes:
        rows["labels"] = jnp.asarray(data.labels[0][:16])
    rows = prepared.train(jax.random.key(1), rows)
    if config.get("teacher"):
        teacher = flows.build(config.teacher.config.model)
        taught = teacher.init(jax.random.key(2), rows["x"], rows.get("cond"))
    on_device = {"train": jnp.asarray(data.train)}
    if prepared.classes:
        on_device["labels"] = jnp.asarray(data.labels[0])
    share = 0.0
    if teacher and config.teacher.samples:
        share = config.teacher.share
        on_device["generated"] = jnp.asarray(data.train[:20] + 1)
    optimizer = optim.make(config.optim, 2)
    keys = side_by_side.run_keys(0, 1)
    cond = rows["cond"][None] if prepared.classes else None
    state = step.init_state(flow, optimizer, keys, rows["x"][None], 0.0, cond)
    size = config.train.batch_size
    take = step.make_train_step(
        objectives.build(config, flow, teacher, 1.0),
        optimizer,
        sampling.uniform(len(data.train), size, devices, share),
        steps=1,
        ema=0.0,
        preprocess=prepared,
        accumulate=config.train.get("accumulate", 1),
    )
    weights = [objectives.weights(config)]
    found = []
    for _ in range(2):
        stop = np.zeros(devices, np.int32)
        hyper = side_by_side.hyper(keys, config.optim.lr, weights)
        state, scalars = take(state, stop, hyper, on_device, taught)
        found.append(np.asarray(scalars["loss"]))
    return np.concatenate(found)


def log(directory):
    """Of training, evaluation of validation rows included, by all devices."""
    config = pictures()
    loop.train_and_evaluate(config, directory)
    return read_log(directory)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """The same on four devices, which need a process of their own."""
    directory = tmp_path_factory.mktemp("four")
    code = (
        "import pathlib, sys; from tests.train import test_shares;"
        "test_shares.on_four(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, directory],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return pickle.loads((directory / "found").read_bytes())


def on_four(directory):
    assert jax.device_count() == 4
    found = {case: losses(case, 4) for case in CASES}
    found["log"] = log(directory / "run")
    (directory / "found").write_bytes(pickle.dumps(found))


@pytest.mark.parametrize("case", CASES)
def test_losses_on_1_2_and_4_devices(case, four):
    one = losses(case, 1)
    assert np.isfinite(one).all()
    assert one[0] != one[1]
    np.testing.assert_allclose(losses(case, 2), one, rtol=2e-5)
    np.testing.assert_allclose(four[case], one, rtol=2e-5)


def test_logs_on_2_and_4_devices(four, tmp_path):
    two = log(tmp_path)
    assert "val_bits_per_dim" in two[-1]
    for ours, theirs in zip(two, four["log"], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ("step", "loss", "gradient_norm", "val_bits_per_dim"):
            if name in ours:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4)
