"""Schedules at known steps, skipped steps, weight decay and moving averages."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from fdnf.train import optim
from tests import floats


def _config(**changes):
    values = {
        "name": "adam",
        "lr": 0.1,
        "weight_decay": 0.0,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        "schedule": "constant",
        "warmup": 0.0,
        "final": 0.0,
        "clip": 0.0,
        "ema": 0.0,
    }
    return ml_collections.ConfigDict({**values, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {0: 0.1, 100: 0.1}),
        ({"schedule": "cosine"}, {0: 0.1, 50: 0.05, 100: 0.0, 130: 0.0}),
        ({"schedule": "cosine", "final": 0.2}, {0: 0.1, 50: 0.06, 100: 0.02}),
        (
            {"schedule": "halved", "milestones": (0.5, 0.75)},
            {0: 0.1, 49: 0.1, 51: 0.05, 74: 0.05, 76: 0.025, 99: 0.025},
        ),
        (
            {"schedule": "exponential", "e_fold": 20, "final": 0.1, "warmup": 1},
            {0: 0.05, 1: 0.1, 21: 0.1 / np.e, 90: 0.01},
        ),
        ({"warmup": 4}, {0: 0.02, 1: 0.04, 3: 0.08, 4: 0.1, 90: 0.1}),
        ({"warmup": 0.2, "schedule": "cosine"}, {19: 0.1 * 20 / 21, 20: 0.1, 60: 0.05}),
    ],
)
def test_schedule_at_known_steps(changes, expected):
    rate = optim.schedule(_config(**changes), 100)
    for step, value in expected.items():
        np.testing.assert_allclose(rate(jnp.asarray(step)), value, atol=1e-8)


def test_each_stage_has_a_schedule_of_its_own_length():
    config = _config(schedule="cosine", warmup=0.2)
    rate = optim.staged(config, ((50, 1.0), (20, 0.5), (30, 0.1)))
    expected = {0: 0.1 / 11, 9: 0.1 * 10 / 11, 10: 0.1, 30: 0.05, 49.999: 0.0}
    expected |= {50: 0.05 / 5, 54: 0.05, 62: 0.025, 70: 0.01 / 7, 76: 0.01, 88: 0.005}
    for step, value in expected.items():
        np.testing.assert_allclose(rate(jnp.asarray(step)), value, atol=1e-8)
    alone = optim.schedule(config, 20)
    later = [0.5 * alone(jnp.asarray(i)) for i in range(20)]
    found = [rate(jnp.asarray(50 + i)) for i in range(20)]
    floats.assert_close(found, later)


def test_the_moments_of_each_stage_are_its_own():
    stages = ((3, 1.0), (2, 0.5), (5, 0.1))
    transform = optim.make(_config(), 10, stages=stages)
    params = {"kernel": jnp.ones(2)}
    state = transform.init(params)
    update = jax.jit(transform.update)
    # Adam's first step is one learning rate long, whatever the gradient; the next ones
    # are not where gradients grow tenfold at each step.
    firsts, lengths = {0, 3, 5}, {0: 0.1, 3: 0.05, 5: 0.01}
    for step in range(10):
        grads = {"kernel": jnp.full(2, 1e-2 * 10.0**step)}
        updates, state = update(grads, state, params)
        if step in firsts:
            floats.assert_close(updates["kernel"], -lengths[step], rtol=1e-3)
        elif step - 1 in firsts:
            length = lengths[step - 1]
            assert np.all(np.abs(updates["kernel"] + length) > 0.1 * length)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "sgdd"}, "'sgdd'.*adam, adamw, adamax"),
        ({"schedule": "step"}, "'step'.*constant, cosine"),
        ({"lr": 0.0}, "optim.lr=0.0"),
        ({"schedule": "halved"}, "optim.milestones=()"),
        ({"schedule": "halved", "milestones": (0.5, 1.5)}, "optim.milestones="),
        ({"schedule": "exponential"}, "optim.e_fold=0"),
        ({"warmup": 100}, "optim.warmup=100.*1 to 99"),
        ({"warmup": 1.5}, "optim.warmup=1.5"),
        ({"schedule": "cosine", "final": 2.0}, "optim.final=2.0"),
        ({"clip": -1.0}, "optim.clip=-1.0"),
        ({"weight_decay": 0.1}, "no effect.*'adamw'"),
    ],
)
def test_wrong_values_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        optim.make(_config(**changes), 100)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("adam", optax.adam), ("adamw", optax.adamw), ("adamax", optax.adamax)],
)
def test_names_mean_the_optimisers_of_optax(name, reference):
    params = {"kernel": jnp.array([[1.0, -2.0]])}
    grads = {"kernel": jnp.array([[0.3, 0.1]])}
    ours, theirs = optim.make(_config(name=name), 10), reference(0.1)
    if name == "adamw":
        theirs = reference(0.1, weight_decay=0.0)
    a, _ = ours.update(grads, ours.init(params), params)
    b, _ = theirs.update(grads, theirs.init(params), params)
    floats.assert_close(a["kernel"], b["kernel"], rtol=1e-6)


def test_clip_bounds_the_global_norm():
    config = _config(clip=1.0, b1=0.0, b2=0.0, eps=1.0)
    transform = optim.make(config, 10)
    params = {"a": jnp.zeros(()), "b": jnp.zeros(())}
    grads = {"a": jnp.array(30.0), "b": jnp.array(40.0)}
    updates, _ = transform.update(grads, transform.init(params), params)
    # With b1 = b2 = 0 the update is -lr g / (|g| + eps), g = (0.6, 0.8) clipped.
    floats.assert_close(updates["a"], -0.1 * 0.6 / 1.6, rtol=1e-5)
    floats.assert_close(updates["b"], -0.1 * 0.8 / 1.8, rtol=1e-5)


def test_adamw_decays_kernels_only():
    params = {
        "layer": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones((3, 2))},
        "conv": {"w": jnp.ones((2, 2)), "log_s": jnp.ones((2,)), "in_w": jnp.ones(1)},
        "shadow": jnp.ones(1),
    }
    transform = optim.make(_config(name="adamw", weight_decay=0.5), 10)
    grads = jax.tree.map(jnp.zeros_like, params)
    updates, _ = transform.update(grads, transform.init(params), params)
    moved = jax.tree.map(lambda u: bool(np.allclose(u, -0.1 * 0.5)), updates)
    still = jax.tree.map(lambda u: not np.any(u), updates)
    assert moved == optim.decayed(params)
    assert moved == jax.tree.map(lambda s: not s, still)
    assert moved["layer"] == {"kernel": True, "bias": False}
    assert moved["conv"] == {"w": True, "log_s": False, "in_w": True}
    assert not moved["shadow"]


def test_step_that_is_not_finite_changes_nothing_and_is_counted():
    transform = optim.make(_config(clip=1.0, schedule="cosine"), 10)
    params = {"kernel": jnp.array([1.0, 2.0])}
    state = transform.init(params)
    good = {"kernel": jnp.array([0.5, -0.5])}
    bad = {"kernel": jnp.array([0.5, jnp.nan])}
    _, state = transform.update(good, state, params)
    before = jax.tree.leaves(state.inner_state)
    for expected in (1, 2):
        updates, state = transform.update(bad, state, params)
        np.testing.assert_array_equal(updates["kernel"], 0.0)
        assert [int(n) for n in optim.bad_steps(state)] == [expected, expected]
    for old, new in zip(before, jax.tree.leaves(state.inner_state), strict=True):
        np.testing.assert_array_equal(old, new)
    _, state = transform.update(good, state, params)
    assert [int(n) for n in optim.bad_steps(state)] == [0, 2]


def test_side_by_side_only_the_run_concerned_is_skipped():
    transform = optim.make(_config(clip=1.0), 10)
    params = {"kernel": jnp.ones((3, 2))}
    state = jax.vmap(transform.init)(params)
    grads = {"kernel": jnp.array([[1.0, 2.0], [jnp.inf, 0.0], [0.1, 0.0]])}
    update = jax.jit(jax.vmap(transform.update))
    updates, state = update(grads, state, params)
    consecutive, total = optim.bad_steps(state)
    np.testing.assert_array_equal(consecutive, [0, 1, 0])
    np.testing.assert_array_equal(total, [0, 1, 0])
    np.testing.assert_array_equal(updates["kernel"][1], 0.0)
    for run in (0, 2):
        alone = transform.init({"kernel": params["kernel"][run]})
        row, _ = transform.update({"kernel": grads["kernel"][run]}, alone)
        floats.assert_close(updates["kernel"][run], row["kernel"], rtol=1e-6)


def test_bad_steps_wants_a_state_of_make():
    with pytest.raises(TypeError, match="EmptyState.*optim.make"):
        optim.bad_steps(optax.EmptyState())


def test_ema_closed_form():
    # Towards a constant c the average is c + (e0 - c) * prod(d_t).
    params, ema = {"w": jnp.array([3.0])}, {"w": jnp.array([-1.0])}
    factor = 1.0
    for step in range(30):
        ema = jax.jit(optim.ema_update, static_argnums=2)(ema, params, 0.5, step)
        factor *= min(0.5, (1 + step) / (10 + step))
    floats.assert_close(ema["w"], 3.0 - 4.0 * factor, rtol=1e-6)
    early = optim.ema_update({"w": jnp.array([-1.0])}, params, 0.999, 0)
    floats.assert_close(early["w"], 3.0 - 4.0 * 0.1, rtol=1e-6)


def test_ema_starts_as_a_copy_or_not_at_all():
    params = {"w": jnp.ones(2)}
    assert optim.ema_init(params, 0.0) is None
    assert optim.ema_update(None, params, 0.0, 3) is None
    ema = optim.ema_init(params, 0.9)
    assert ema["w"].unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()
    with pytest.raises(ValueError, match="optim.ema=1.0"):
        optim.ema_init(params, 1.0)


@pytest.mark.parametrize("name", sorted(optim.OPTIMISERS))
def test_moments_start_anew_and_the_schedule_goes_on(name):
    config = _config(name=name, schedule="cosine")
    restarted, plain = optim.make(config, 10, 3), optim.make(config, 10)
    params = {"kernel": jnp.ones(2)}
    small, large = ({"kernel": jnp.full(2, v)} for v in (1e-4, 1.0))
    one, other = restarted.init(params), plain.init(params)
    for _ in range(3):
        left, one = restarted.update(small, one, params)
        right, other = plain.update(small, other, params)
        floats.assert_close(left["kernel"], right["kernel"], rtol=1e-5)
    rate = optim.schedule(config, 10)(3)
    left, one = restarted.update(large, one, params)
    # Adam's first step is one learning rate long, whatever the gradient.
    floats.assert_close(left["kernel"], -rate, rtol=1e-3)
    right, other = plain.update(large, other, params)
    assert np.all(np.abs(right["kernel"] + rate) > 0.1 * rate)
