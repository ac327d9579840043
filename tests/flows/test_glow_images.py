"""Glow on images: the same program in four ways, deep, conditional, in bfloat16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.glow import Glow
from fdnf.ops import trees
from tests import floats, laws

SMALL = Glow(1, 2, 4)
SPLIT = Glow(2, 1, 4)
EVENT = (4, 4, 2)
# Of `laws.perturb`: a fraction of what weights usually start with. Depth makes much
# of it: the deep Glow moves data by up to 17 and its latents have a deviation of 2.7.
NOISE = 0.07
DEEP = laws.Case("deep", Glow(2, 32, 8), (8, 8, 3), noise=NOISE)


@functools.cache
def case_of(flow, width=None, noise=0.3):
    return laws.Case("small", flow, EVENT, width, noise, start=False)


def test_a_deep_glow_comes_back_in_float32():
    x = DEEP.data(batch=8)
    there = jax.jit(DEEP.forward)(DEEP.variables, x, None)
    back = jax.jit(DEEP.inverse)(DEEP.variables, there.value, None)
    assert np.max(np.abs(there.value - x)) > 10.0, "the flow does little"
    assert np.std(there.value) > 2.0
    assert np.max(np.abs(back.value - x)) < 1e-3
    np.testing.assert_allclose(there.log_det, -back.log_det, atol=1e-3)
    laws.assert_close(there.levels, back.levels, 1e-3, "levels")


# A shallow one is under the laws.
@pytest.mark.slow
def test_log_det_of_a_deep_glow_is_that_of_its_jacobian_in_float64():
    with jax.enable_x64(True):
        variables, x = laws.cast((DEEP.variables, DEEP.data(batch=2)), np.float64)
        found = jax.jit(DEEP.forward)(variables, x, None).log_det

        def log_det(row):
            def value(flat):
                return DEEP.forward(variables, flat.reshape(1, *row.shape), None).value

            jacobian = jax.jacfwd(lambda flat: value(flat).reshape(-1))(row.reshape(-1))
            return jnp.linalg.slogdet(jacobian)[1]

        expected = jax.jit(jax.vmap(log_det))(x)
        assert found.dtype == np.float64
        floats.assert_close(found, expected, rtol=1e-9)
        assert np.all(np.abs(found) > 10.0)
        assert abs(found[0] - found[1]) > 0.1


# Beside the default, rolled and rematerialised. All at once, and without, is what the
# initial parameters below are made by.
WAYS = [
    pytest.param({"unroll": 1, "remat": False}, marks=pytest.mark.slow),
    {"unroll": 2, "remat": True},
]


@pytest.fixture(scope="module")
def as_it_is():
    return results({})


def results(way):
    flow, case = SMALL.clone(**way), case_of(SMALL)

    @jax.jit
    def run(variables, x, z):
        params, constants = trees.split_variables(variables)

        def objective(params, x):
            encoding = flow.apply({"params": params, "constants": constants}, x)
            return jnp.mean(encoding.log_prob), encoding

        slope = jax.value_and_grad(objective, (0, 1), has_aux=True)(params, x)
        return slope, flow.apply(variables, z, method="decode")

    x = case.data()
    z = flow.draw(jax.random.key(1), x.shape)
    return jax.eval_shape(flow.init, jax.random.key(0), x), run(case.variables, x, z)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_rolled_unrolled_and_rematerialised_are_one_flow(way, as_it_is):
    shapes, found = results(way)
    expected_shapes, expected = as_it_is
    assert jax.tree.structure(shapes) == jax.tree.structure(expected_shapes)
    assert jax.tree.leaves(shapes) == jax.tree.leaves(expected_shapes)
    laws.assert_close(expected, found, 1e-5, str(way))


def test_the_ways_differ_in_their_programs():
    case = case_of(SMALL)
    x = case.data()

    def program(**way):
        flow = SMALL.clone(**way)
        params, constants = trees.split_variables(case.variables)

        def objective(params):
            variables = {"params": params, "constants": constants}
            return jnp.sum(flow.apply(variables, x).log_prob)

        return str(jax.make_jaxpr(jax.grad(objective))(params))

    assert "remat" in program(remat=True)
    assert "remat" not in program(remat=False)
    assert "unroll=1" in program(unroll=1)
    assert "unroll=1" not in program(unroll=2)


def test_initial_parameters_are_the_same_rolled_and_unrolled():
    x = case_of(SMALL).data(batch=32)
    one, two = (
        jax.jit(SMALL.clone(**way).init)(jax.random.key(0), x)
        for way in ({"unroll": 1, "remat": True}, {"unroll": None, "remat": False})
    )
    laws.assert_close(one, two, 1e-4, "initial parameters")


def test_every_level_starts_normalised():
    # The couplings start with one scale for all, the splits with none.
    x = 20.0 + 7.0 * case_of(SPLIT).data(batch=64)
    encoding, _ = jax.jit(SPLIT.init_with_output)(jax.random.key(0), x)
    assert len(encoding.levels) == 2
    for level in encoding.levels:
        assert np.max(np.abs(np.mean(level, axis=(0, 1, 2)))) < 0.1
        assert 0.5 < np.std(level) < 1.05


@pytest.mark.parametrize("transform", ["affine", "additive"])
def test_additive_couplings_keep_volume_but_for_norms_and_rotations(transform):
    flow = Glow(1, 1, 4, transformer=transform)
    case = laws.Case("volume", flow, (4, 4, 1), noise=0.3, start=False)
    x = case.data(batch=4)
    log_det = case.apply(x, method="encode").log_det
    spread = np.ptp(log_det)
    assert spread < 1e-4 if transform == "additive" else spread > 1e-3


@pytest.mark.parametrize("floor", [0.1, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_the_floor_bounds_what_the_inverse_divides_by(floor):
    flow = Glow(1, 1, 4, floor=floor)
    x = case_of(flow).data()

    @jax.jit
    def log_dets(raw):
        variables = flow.init(jax.random.key(0), x)
        step = variables["params"]["stacks_0"]["parts_1"]["step"]
        out = step["parts_2"]["conditioner"]["conv_out"]
        before = flow.apply(variables, x).log_det
        out["bias"] += raw
        return flow.apply(variables, x).log_det - before

    # 2 x 2 pixels of 4 moved channels each, from the scale at 0 to the floor.
    start = np.log(floor + (1 - floor) / (1 + np.exp(-2.0)))
    expected = np.full(len(x), 16 * (np.log(floor) - start))
    floats.assert_close(log_dets(-100.0), expected, rtol=1e-3)


def test_classes_change_densities_and_samples():
    case = case_of(SMALL, 3)
    x = case.data(batch=3)
    labels, others = jnp.eye(3), jnp.roll(jnp.eye(3), 1, axis=0)
    one = case.apply(x, labels, method="encode")
    two = case.apply(x, others, method="encode")
    assert np.min(np.abs(one.log_prob - two.log_prob)) > 0.1
    decode = functools.partial(case.apply, one.z, method="decode")
    same, other = decode(labels).x, decode(others).x
    np.testing.assert_allclose(same, x, atol=1e-4)
    assert np.min(np.max(np.abs(other - x), axis=(1, 2, 3))) > 0.1
    # A row's class is its own matter.
    mixed = case.apply(x, labels.at[0].set(others[0]), method="encode").log_prob
    floats.assert_close(mixed[0], two.log_prob[0], rtol=1e-5)
    floats.assert_close(mixed[1:], one.log_prob[1:], rtol=1e-5)


def test_a_condition_brings_a_top_prior_per_class():
    def top(flow, width):
        case = case_of(flow, width)
        init = functools.partial(jax.eval_shape, flow.init, jax.random.key(0))
        return init(case.data(), case.cond())["params"].get("top")

    assert top(SPLIT, None) is None
    assert set(top(SPLIT.clone(learn_top=True), None)) == {"bias"}
    # Means and scales of the 16 channels of the top.
    assert top(SPLIT, 3)["context"]["kernel"].shape == (3, 2 * 16)


def test_teacher_and_student_share_their_noise():
    teacher, student = SPLIT.clone(steps=5, hidden=16), SPLIT
    key, shape = jax.random.key(3), (4, *EVENT)
    drawn = [flow.draw(key, shape) for flow in (teacher, student)]
    assert len(drawn[0]) == 2
    for one, two in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, two)

    # `sample` decodes these very latents.
    case = case_of(SMALL)

    @jax.jit
    def run(variables):
        drawn = SMALL.apply(variables, key, shape, 0.7, method="sample")
        z = SMALL.draw(key, shape, 0.7)
        return drawn, SMALL.apply(variables, z, method="decode").x

    found, expected = run(case.variables)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_cold_top_keeps_the_parts_split_off():
    case = case_of(SPLIT)
    z = SPLIT.draw(jax.random.key(0), (4, *EVENT), (1.0, 0.0))
    assert not np.any(z[1])
    x = case.apply(z, method="decode").x
    again = case.apply(x, method="encode").z
    np.testing.assert_allclose(again[1], np.zeros_like(z[1]), atol=1e-4)
    np.testing.assert_allclose(again[0], z[0], atol=1e-4)


def test_bfloat16_costs_digits_of_densities_not_of_round_trips():
    full = Glow(1, 4, 8)
    case = laws.Case("bf16", full, (8, 8, 1), noise=0.1, start=False)
    x = case.data(batch=8)

    @functools.partial(jax.jit, static_argnums=0)
    def there_and_back(flow, variables):
        encoding = flow.apply(variables, x)
        decoding = flow.apply(variables, encoding.z, method="decode")
        return encoding, decoding

    exact, _ = there_and_back(full, case.variables)
    low = full.clone(dtype="bfloat16")
    found, back = there_and_back(low, case.variables)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves((found, back)))
    bits = np.abs(found.log_prob - exact.log_prob) / (64 * np.log(2))
    assert 1e-6 < np.max(bits) < 0.01
    # Both directions round the same arguments in the same way.
    assert np.max(np.abs(back.x - x)) < 1e-4
    np.testing.assert_allclose(back.log_det, -found.log_det, atol=1e-3)


def test_bfloat16_has_the_same_parameters():
    x = case_of(SMALL).data()
    one, two = (
        jax.eval_shape(SMALL.clone(dtype=dtype).init, jax.random.key(0), x)
        for dtype in ("float32", "bfloat16")
    )
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert jax.tree.leaves(one) == jax.tree.leaves(two)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bf16"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match=f"dtype='{dtype}'.: expected one of"):
        Glow(dtype=dtype)


@pytest.mark.parametrize("width", [None, 3])
def test_parameters_are_float32_where_x64_is_on(width):
    case = case_of(SPLIT, width)
    with jax.enable_x64(True):
        made = jax.eval_shape(
            case.module.init, jax.random.key(0), case.data(), case.cond()
        )
    params, constants = trees.split_variables(made)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(constants)} == {np.dtype("bool")}
