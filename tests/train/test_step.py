"""The training step: devices, runs side by side, calls, and steps that are skipped."""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.data import build as datasets
from fdnf.flows import build as flows
from fdnf.train import (
    batches,
    models,
    objectives,
    optim,
    preprocess,
    step,
    validation,
)
from fdnf.train.settings import ConfigError
from tests import floats, tiny

CONFIG = tiny.config()
DATA = datasets.build(CONFIG.data)
FLOW = flows.build(CONFIG.model).clone(steps=1)
OPTIMIZER = optim.make(CONFIG.optim, 12)
NLL = objectives.build(CONFIG, FLOW, None, 1.0)


def started(runs=1, ema=0.0, seed=0):
    keys = step.run_keys(seed, runs)
    x = jnp.broadcast_to(jnp.asarray(DATA.train[:32]), (runs, 32, 3))
    return models.init_state(FLOW, OPTIMIZER, keys, x, ema), keys


@functools.cache  # Tracing costs more than these tests' steps.
def program(objective, rows, batch, devices, steps, ema, pack="auto", parts=1):
    sample = batches.uniform(rows, batch, devices)
    return step.make_train_step(
        *(objective, OPTIMIZER, sample),
        steps=steps,
        ema=ema,
        pack=pack,
        accumulate=parts,
    )


def trained(
    calls=1,
    *,
    steps=3,
    runs=1,
    ema=0.0,
    seed=0,
    devices=2,
    rows=200,
    batch=16,
    pack="auto",
    parts=1,
    objective=NLL,
):
    state, keys = started(runs, ema, seed)
    take = program(objective, rows, batch, devices, steps, ema, pack, parts)
    data = {"train": jnp.asarray(DATA.train[:rows])}
    log = []
    for _ in range(calls):
        state, scalars = take(
            state, np.zeros(devices, np.int32), step.hyper(keys), data, {}
        )
        log.append(jax.device_get(scalars))
    return jax.device_get(state), log


def assert_close(ours, theirs, **tolerance):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, theirs
    )


def assert_same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def changed(before, after):
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return any(not np.array_equal(a, b) for a, b in pairs)


def test_there_are_two_devices():
    assert jax.local_device_count() == 2


@pytest.mark.parametrize("runs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_state_and_scalars_have_no_device_axis(runs):
    before, _ = started(runs, ema=0.9)
    shapes = jax.tree.map(jnp.shape, before)
    after, log = trained(runs=runs, ema=0.9)
    assert jax.tree.map(jnp.shape, after) == shapes
    assert after.step == 3
    assert {v.shape for v in log[0].values()} == {(runs,)}
    assert changed(before.params, after.params)


def test_two_devices_equal_one():
    # Batches of all rows are the same rows on any number of devices.
    one, log_one = trained(2, devices=1, rows=40, batch=64)
    two, log_two = trained(2, devices=2, rows=40, batch=64)
    assert_close(log_two, log_one, rtol=1e-4, atol=1e-6)
    assert_close(two.params, one.params, rtol=1e-4, atol=1e-5)


def test_devices_draw_different_rows():
    def objective(variables, teacher, batch, moment):
        here = jax.lax.all_gather(batch["x"], step.AXIS)
        gap = jnp.abs(here[0] - here[1]).max()
        zero = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(variables))
        return 0.0 * zero, {"gap": gap}

    take = program(objective, 200, 16, 2, 1, 0.0)
    state, keys = started()
    data = {"train": jnp.asarray(DATA.train)}
    _, scalars = take(state, np.zeros(2, np.int32), step.hyper(keys), data, {})
    assert scalars["gap"][0] > 0


def test_mapped_runs_are_the_runs_alone():
    # To the bit with XLA's newer fusions, which the tests go without (`conftest`).
    packed, log = trained(2, runs=2, pack="map", ema=0.9)
    for r in range(2):
        alone, log_alone = trained(2, seed=r, ema=0.9)
        assert_close(
            jax.tree.map(lambda leaf, r=r: leaf[r], packed.params),
            jax.tree.map(lambda leaf: leaf[0], alone.params),
            rtol=1e-5,
            atol=1e-8,
        )
        assert_close(
            jax.tree.map(lambda leaf, r=r: leaf[r], packed.ema),
            jax.tree.map(lambda leaf: leaf[0], alone.ema),
            rtol=1e-5,
            atol=1e-8,
        )
        floats.assert_close(
            [row["loss"][r] for row in log],
            [row["loss"][0] for row in log_alone],
            rtol=1e-6,
        )


def test_vmapped_runs_equal_mapped_ones():
    mapped, log_mapped = trained(2, runs=2, pack="map", ema=0.9)
    vmapped, log_vmapped = trained(2, runs=2, pack="vmap", ema=0.9)
    assert_close(log_vmapped, log_mapped, rtol=1e-4, atol=1e-6)
    assert_close(vmapped.params, mapped.params, rtol=1e-4, atol=1e-5)
    losses = np.array(log_mapped[0]["loss"])
    assert len(set(losses.tolist())) == 2  # the seeds do differ


def test_runs_that_are_alike_ask_their_teacher_once():
    """Two students of each of two teachers, on one device."""
    asked = []

    def answer(teacher, batch):
        jax.debug.callback(lambda: asked.append(1))
        return teacher * batch["x"]

    def objective(variables, said, batch, moment):
        loss, terms = NLL(variables, None, batch, moment)
        leaf = jax.tree.leaves(variables["params"])[0]
        return loss + moment.weights[0] * jnp.mean(said) * jnp.sum(leaf), terms

    keys = jnp.repeat(step.run_keys(0, 2), 2)
    hyper = step.hyper(keys, weights=2 * [(0.1, 0.0, 0.0), (0.5, 0.0, 0.0)])
    stop, data = np.zeros(1, np.int32), {"train": jnp.asarray(DATA.train)}
    found, times = [], []
    for alike in (1, 2):
        take = step.make_train_step(
            *(objective, OPTIMIZER, batches.uniform(200, 16, 1)),
            steps=2,
            ema=0.0,
            teacher_runs=True,
            alike=alike,
            answer=answer,
        )
        state, _ = started(runs=4)
        made = take(state, stop, hyper, data, jnp.array([1.0, 1.0, 9.0, 9.0]))
        found.append(jax.device_get((made[0].params, made[1]["loss"])))
        jax.effects_barrier()
        times.append(len(asked))
        asked.clear()
    assert times == [8, 4]
    assert_close(*found, rtol=1e-4, atol=1e-6)
    assert len({*found[0][1].tolist()}) == 4


def test_unknown_pack():
    with pytest.raises(ConfigError, match=r"train.pack='pmap'; known: .*vmap"):
        trained(pack="pmap")


def test_steps_a_call_do_not_matter():
    one, log_one = trained(6, steps=1, ema=0.9)
    three, log_three = trained(2, steps=3, ema=0.9)
    assert one.step == three.step == 6
    assert_close(one.params, three.params, rtol=1e-5, atol=1e-6)
    assert_close(one.ema, three.ema, rtol=1e-5, atol=1e-6)
    losses = np.reshape([row["loss"] for row in log_one], (2, 3))
    found = [row["loss"][0] for row in log_three]
    floats.assert_close(found, losses.mean(axis=1), rtol=1e-5)


def test_accumulated_gradient_is_that_of_the_batch():
    whole, log_whole = trained(ema=0.9)
    parts, log_parts = trained(ema=0.9, parts=4)
    floats.assert_close(log_parts[0]["loss"], log_whole[0]["loss"], rtol=1e-5)
    assert_close(parts.params, whole.params, rtol=1e-3, atol=1e-5)


def test_parts_that_do_not_divide_the_batch():
    with pytest.raises(ConfigError, match="accumulate=3 does not divide .* of 8"):
        trained(parts=3)


def test_the_state_is_donated():
    state, keys = started(ema=0.9)
    take = program(NLL, 200, 16, 2, 1, 0.9)
    stop, data = np.zeros(2, np.int32), {"train": jnp.asarray(DATA.train)}
    # The first call brings the state from one device onto both.
    state, _ = take(state, stop, step.hyper(keys), data, {})
    old = state
    take(state, stop, step.hyper(keys), data, {})
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.params))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.ema))
    assert not data["train"].is_deleted()


def spoiled(variables, teacher, batch, moment):
    """NLL, at step 2 with a loss that is not finite, at step 3 with such a gradient."""
    loss, terms = NLL(variables, teacher, batch, moment)
    # Its gradient stays finite.
    loss += jnp.where(moment.step == 2, jnp.nan, 0.0)
    bad = moment.step == 3
    leaf = jax.tree.leaves(variables["params"])[0].ravel()[0]
    shifted = jnp.where(bad, leaf - jax.lax.stop_gradient(leaf), 1.0)
    return loss + jnp.sqrt(shifted) - jnp.where(bad, 0.0, 1.0), terms


def test_a_step_that_is_not_finite_changes_nothing():
    states, logs = [], []
    for calls in (2, 3, 4, 5):
        state, log = trained(
            calls, steps=1, runs=2, ema=0.9, objective=spoiled, batch=16
        )
        states.append(state)
        logs.append(log)
    before, *both, after = states
    for skipped in both:
        assert_same(skipped.params, before.params)
        assert_same(skipped.ema, before.ema)
        assert_same(skipped.opt_state.inner_state, before.opt_state.inner_state)
    assert skipped.step == 4
    found = [row["skipped_steps"].tolist() for row in logs[-1]]
    assert found == [[0, 0], [0, 0], [1, 1], [2, 2], [2, 2]]
    in_a_row = [row["bad_in_a_row"].tolist() for row in logs[-1]]
    assert in_a_row == [[0, 0], [0, 0], [1, 1], [2, 2], [0, 0]]
    assert changed(skipped.params, after.params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.ema))


def test_the_log_of_a_call_is_over_its_finite_steps():
    _, log = trained(1, steps=6, objective=spoiled)
    assert np.isfinite(log[0]["loss"]).all()
    assert np.isfinite(log[0]["gradient_norm"]).all()
    assert log[0]["skipped_steps"].tolist() == [2]


@pytest.mark.parametrize("batch", [7, 500])
def test_log_prob_covers_each_row_once(batch):
    state, _ = started(runs=2)
    rows = jnp.asarray(DATA.test[:37])
    found = validation.make_log_prob(FLOW, batch)(
        state.params, state.constants, DATA.test[:37]
    )
    assert found.shape == (2, 37)
    log_prob = jax.jit(functools.partial(FLOW.apply, method="log_prob"))
    for r in range(2):
        params = jax.tree.map(lambda leaf, r=r: leaf[r], state.params)
        expected = log_prob({"params": params}, rows)
        np.testing.assert_allclose(found[r], expected, rtol=1e-5, atol=1e-5)


# Files of the package that run between the draw of a batch and the update of the
# parameters, for a reader to open.
MOST_FILES = 15


def test_one_step_of_ilkd_on_maf_runs_through_few_files():
    config = tiny.config("ilkd")
    student = flows.build(config.model)
    teacher = flows.build(config.teacher.config.model)
    x = jnp.asarray(DATA.train[None, :32])
    taught = jax.eval_shape(teacher.init, jax.random.key(5), x[0])
    objective = objectives.build(config, student, teacher, 1.0)
    take = step.make_train_step(
        objective,
        OPTIMIZER,
        batches.uniform(200, 16, 2),
        steps=1,
        ema=0.0,
        preprocess=preprocess.make(CONFIG.data, DATA),
    )
    keys = step.run_keys(0, 1)
    state = jax.eval_shape(
        lambda keys: models.init_state(student, OPTIMIZER, keys, x, 0.0), keys
    )
    given = np.zeros(2, np.int32), step.hyper(keys, weights=(0.9, 0.1, 0.0))
    jax.clear_caches()  # What was traced before would not run again.
    root = str(pathlib.Path(step.__file__).parents[1])
    files = set()

    def note(frame, event, _):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(root):
            files.add(str(pathlib.Path(name).relative_to(root)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        take.lower(state, *given, {"train": jnp.asarray(DATA.train)}, taught)
    finally:
        sys.setprofile(before)
    print(*sorted(files), sep="\n")
    own = {"train/step.py", "train/batches.py", "train/objectives.py", "train/optim.py"}
    assert own | {"losses/distillation.py", "flows/maf.py", "ops/entering.py"} <= files
    assert len(files) <= MOST_FILES, sorted(files)
