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

from configs import glow_digits, teaching
from fdnf.data import build as datasets
from fdnf.flows import build as flows
from fdnf.train import batches, models, objectives, optim, settings, step, validation
from fdnf.train import weights as of_rows
from fdnf.train.batches import Share
from tests import floats, mixed, processes, tiny


def test_shares_together_are_what_is_drawn_for_all():
    def function(rows):
        return {"x": jnp.arange(rows) * 1.5, "y": jnp.arange(3 * rows).reshape(rows, 3)}

    parts = [batches.draw(Share(i, 4), 2, function) for i in range(4)]
    every = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    jax.tree.map(np.testing.assert_array_equal, every, function(8))


def test_one_device_draws_all():
    assert batches.draw(batches.WHOLE, 5, lambda rows: rows) == 5


@pytest.mark.parametrize("generated", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [100, 24])  # Above the batch, and all rows at once.
def test_devices_share_out_one_batch(rows, generated):
    data = {
        "train": jnp.arange(rows),
        "beside": -jnp.arange(rows),
        "generated": 1000 + jnp.arange(50),
        "generated_beside": -1000 - jnp.arange(50),
    }
    key = jax.random.key(0)

    def batch(devices):
        sample = batches.uniform(rows, 24, devices, generated)
        parts = [sample(key, data, i) for i in range(devices)]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    one = batch(1)
    np.testing.assert_array_equal(one["beside"], -one["x"])
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
    """One level of one step, width 4, on 4x4 images of three classes, mirrored."""
    if method == "skd":
        built = teaching.distill(_glow("student"), _glow("teacher"), {"skd"})
    else:
        built = _glow(method)
    built.data.flip = True
    built.update_from_flattened_dict(overrides)
    return built


def _glow(arg):
    built = glow_digits.get_config(f"{arg},smoke")
    built.model.args.update(levels=1, steps=1, hidden=4)
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


def table(parts):
    """Samples are compared, and some rows are the teacher's."""
    built = mixed.config("skd", accumulate=parts, batch_size=16)
    built.teacher.update(samples=20, share=0.3)
    return built


def judged(**overrides):
    """A student whose samples the teacher judges."""
    built = vectors("ilkd", **overrides)
    built.loss = {"method": "z", "transfer": {"expansion": 5, "temperature": 1.0}}
    return built


CASES = {
    # Conditions, weights, and noise of whole numbers.
    "table, in parts": functools.partial(mixed.config, accumulate=2, batch_size=16),
}
# Of their losses `test_transfer` and `test_objectives` have the halves of a batch.
MORE = {
    "images": functools.partial(pictures, **{"data.conditional": True}),
    # Rows that were generated, too.
    "table, skd": functools.partial(table, 2),
    "noise in parts": functools.partial(transferred, **{"train.accumulate": 2}),
    "vectors": functools.partial(
        vectors,
        "skd",
        **{"train.accumulate": 2, "teacher.samples": 60, "teacher.share": 0.3},
    ),
    "images, skd": functools.partial(
        pictures,
        "skd",
        **{"data.conditional": True, "loss.skd.batch": 8, "loss.skd.start": 0.0},
    ),
    "z in parts": functools.partial(judged, **{"train.accumulate": 2}),
}


def losses(case, devices):
    """Loss, its terms and the gradient's norm, of two steps by so many devices."""
    config = (CASES | MORE)[case]()
    data = datasets.build(config.data)
    prepared = settings.prepared(config, data)
    flow, teacher, taught = flows.build(config.model), None, {}
    rows, beside = {"x": jnp.asarray(data.train[:16])}, prepared.beside(data, 0)
    if beside is not None:
        rows["beside"] = jnp.asarray(beside[:16])
    rows = prepared.train(jax.random.key(1), rows)
    if config.get("teacher"):
        teacher = flows.build(config.teacher.config.model)
        init = jax.jit(teacher.init)
        taught = init(jax.random.key(2), rows["x"], rows.get("cond"))
    on_device = {"train": jnp.asarray(data.train)}
    if beside is not None:
        on_device["beside"] = jnp.asarray(beside)
    weights = of_rows.of(data, 0)
    if weights is not None:
        on_device |= jax.tree.map(jnp.asarray, of_rows.alias(weights))
    share = 0.0
    if teacher and config.teacher.samples:
        share = config.teacher.share
        on_device["generated"] = jnp.asarray(data.train[20:40])
        if beside is not None:
            on_device["generated_beside"] = jnp.asarray(beside[20:40])
    optimizer = optim.make(config.optim, 2)
    keys = step.run_keys(0, 1)
    cond = None if beside is None else rows["cond"][None]
    state = models.init_state(flow, optimizer, keys, rows["x"][None], 0.0, cond)
    size = config.train.batch_size
    take = step.make_train_step(
        # Some samples are out of reach.
        objectives.build(config, flow, teacher, 1.0),
        optimizer,
        batches.uniform(
            len(data.train), size, devices, share, weighed=weights is not None
        ),
        steps=1,
        ema=0.0,
        preprocess=prepared,
        accumulate=config.train.get("accumulate", 1),
    )
    weights = [objectives.weights(config)]
    found = []
    for _ in range(2):
        stop = np.zeros(devices, np.int32)
        hyper = step.hyper(keys, config.optim.lr, weights)
        state, scalars = take(state, stop, hyper, on_device, taught)
        found.append(jax.device_get(scalars))
    return found


def densities():
    """Of images that do not fill their last batch, by all devices."""
    config = pictures()
    data = datasets.build(config.data)
    flow = flows.build(config.model)
    variables = jax.jit(flow.init)(jax.random.key(0), jnp.zeros((4, *data.event)))
    log_prob = validation.make_log_prob(
        flow, 30, settings.prepared(config, data), everyone=True
    )
    params = jax.tree.map(lambda leaf: leaf[None], variables["params"])
    constants = jax.tree.map(lambda leaf: leaf[None], variables.get("constants", {}))
    return log_prob(params, constants, data.train[:50])


def on_four(cases, path):
    """The losses of these cases, and densities, in a process that has four devices."""
    code = (
        "import sys; from tests.train import test_shares as t; t.four_of(*sys.argv[1:])"
    )
    environment = {
        "XLA_FLAGS": processes.flags(4),
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, path, *cases],
        cwd=processes.ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return pickle.loads(path.read_bytes())


def four_of(path, *cases):
    assert jax.device_count() == 4
    found = {case: losses(case, 4) for case in cases} | {"densities": densities()}
    pathlib.Path(path).write_bytes(pickle.dumps(found))


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return on_four(CASES, tmp_path_factory.mktemp("four") / "found")


@pytest.mark.parametrize("case", CASES)
def test_losses_on_1_and_4_devices(case, four):
    """Of 2, which are shares of the same kind, `test_step` has one."""
    same_losses(losses(case, 1), four[case])


def same_losses(ones, fours):
    assert np.isfinite(ones[1]["loss"]).all()
    assert ones[0]["loss"] != ones[1]["loss"]
    for step_four, step_one in zip(fours, ones, strict=True):
        for name, value in step_one.items():
            floats.assert_close(step_four[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE)
def test_more_losses_on_1_and_4_devices(case, tmp_path):
    same_losses(losses(case, 1), on_four([case], tmp_path / "found")[case])


def test_densities_on_2_and_4_devices(four):
    floats.assert_close(densities(), four["densities"], rtol=1e-5)
