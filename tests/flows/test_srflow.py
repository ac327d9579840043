"""SRFlow: layout, condition, bounds, and a round trip beyond the tiny sizes."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import build
from fdnf.flows.srflow import SRFlow
from tests import floats, laws
from tests.flows import tiny_srflow

HR, LR = (2, 16, 16, 3), (2, 4, 4, 3)
# Opening steps, without a coupling, are in `test_surgery.py`.
FLOW = SRFlow(**tiny_srflow.LEAST)


def images(*shape, seed=0):
    draw = np.random.default_rng(seed).uniform(size=shape)
    return jnp.asarray(draw, jnp.float32)


@functools.cache
def variables(noise=0.2):
    return laws.drawn(FLOW, images(*HR), images(*LR), noise=noise)


# One level and one step, for what is the same at any number of them.
LEAST = FLOW.clone(levels=1)


@functools.cache
def least_variables():
    return laws.drawn(LEAST, images(*HR), images(*LR), noise=0.5)


encode = jax.jit(functools.partial(FLOW.apply, method="encode"))
decode = jax.jit(functools.partial(FLOW.apply, method="decode"))


@pytest.mark.parametrize(
    ("settings", "event", "shapes"),
    [
        ({}, (160, 160, 3), [(80, 80, 6), (20, 20, 96)]),
        (
            {"scale": 8, "levels": 4},
            (160, 160, 3),
            [(80, 80, 6), (40, 40, 12), (10, 10, 192)],
        ),
        # The last two levels have no split, so two have none at all.
        ({"levels": 2}, (8, 16, 3), [(2, 4, 48)]),
        ({"levels": 1}, (8, 4, 1), [(4, 2, 4)]),
    ],
)
def test_layout_is_the_published_one(settings, event, shapes):
    flow = SRFlow(**settings)
    assert flow.latent_shapes(event) == tuple(shapes)
    assert sum(map(math.prod, shapes)) == math.prod(event)


def test_both_directions_agree_at_perturbed_weights():
    x, cond = images(*HR, seed=1), images(*LR, seed=2)
    there = encode(variables(), x, cond)
    assert [z.shape for z in there.z] == [(2, 8, 8, 6), (2, 2, 2, 96)]
    back = decode(variables(), there.z, cond)
    assert np.max(np.abs(there.levels[0][:, :, :, :3] - x[:, ::2, ::2])) > 0.1
    np.testing.assert_allclose(back.x, x, atol=1e-4)
    floats.assert_close(there.log_det, -back.log_det, rtol=1e-4)
    laws.assert_close(there.levels, back.levels, 1e-4, "levels")


def test_the_condition_moves_every_latent_and_the_density():
    x, cond = images(*HR, seed=1), images(*LR, seed=2)
    one = encode(variables(0.4), x, cond)
    other = encode(variables(0.4), x, cond.at[0].set(1.0 - cond[0]))
    for a, b in zip(one.z, other.z, strict=True):
        assert np.max(np.abs(a[0] - b[0])) > 1e-2
        np.testing.assert_array_equal(a[1], b[1])
    assert abs(one.log_prob[0] - other.log_prob[0]) > 1e-2


def test_every_latent_moves_the_image():
    cond = images(*LR)
    z = FLOW.draw(jax.random.key(0), HR)
    plain = decode(variables(), z, cond).x
    for i in range(len(z)):
        moved = (*z[:i], z[i] + 1.0, *z[i + 1 :])
        assert np.max(np.abs(decode(variables(), moved, cond).x - plain)) > 1e-2


def test_maps_stand_for_the_condition():
    x, cond = images(*HR, seed=1), images(*LR, seed=2)
    maps_of = functools.partial(FLOW.apply, method="maps")
    maps = jax.eval_shape(maps_of, variables(), cond)
    # Each level's own size, its activation and the tap beside it.
    assert [m.shape for m in maps] == [(2, 8, 8, 8), (2, 4, 4, 8), (2, 2, 2, 8)]

    @jax.jit
    def run(variables):
        maps = LEAST.apply(variables, cond, method="maps")
        there = LEAST.apply(variables, x, maps=maps, method="encode")
        back = LEAST.apply(variables, there.z, maps=maps, method="decode")
        return LEAST.apply(variables, x, cond), there, back

    expected, there, back = run(least_variables())
    laws.assert_close(expected.z, there.z, 1e-5, "maps")
    np.testing.assert_allclose(back.x, x, atol=1e-4)
    assert back.residual is None


def test_many_samples_of_one_image_run_the_encoder_once():
    cond = images(*LR, seed=2)[:1]
    whole = LEAST.draw(jax.random.key(0), (4, *HR[1:]))
    stacked = jax.tree.map(lambda part: part[:, None], whole)
    variables = least_variables()

    def one(z):
        return LEAST.apply(variables, z, cond, method="decode").x

    def tiled(z):
        conds = jnp.tile(cond, (4, 1, 1, 1))
        return LEAST.apply(variables, z, conds, method="decode").x

    many = jax.jit(jax.vmap(one)).lower(stacked).compile()
    each = jax.jit(tiled).lower(whole).compile()
    np.testing.assert_allclose(many(stacked)[:, 0], each(whole), rtol=1e-4, atol=1e-4)
    flops = [p.cost_analysis()["flops"] for p in (many, each)]
    assert flops[0] < 0.8 * flops[1], flops


def test_far_latents_stay_finite():
    z = FLOW.draw(jax.random.key(1), HR, 1000.0)
    x = decode(variables(), z, images(*LR)).x
    assert np.all(np.isfinite(x))
    assert np.max(np.abs(x)) > 100.0


def test_gradients_reach_the_encoder():
    x, cond = images(*HR, seed=1), images(*LR, seed=2)

    def loss(params):
        return -jnp.mean(LEAST.apply({"params": params}, x, cond).log_prob)

    gradients = jax.jit(jax.grad(loss))(least_variables()["params"])["encoder"]
    for name in ("conv_first", "conv_up_1"):
        assert np.max(np.abs(gradients[name]["kernel"])) > 0.0
    # The flow does not use the image that the encoder could make.
    for name in ("conv_up_2", "conv_hr", "conv_last"):
        assert not np.any(gradients[name]["kernel"])


@pytest.mark.parametrize(
    ("hr", "lr", "message"),
    [
        (HR, (2, 8, 8, 3), r"2 low-resolution images of \(8, 8\) for 2 .*\(16, 16\)"),
        ((2, 12, 12, 3), (2, 3, 3, 3), "sides that 8 divides"),
        ((2, 20, 16, 3), (2, 4, 4, 3), "sides that 8 divides"),
        (HR, (2, 48), "SRFlow with a condition of"),
        (HR, None, "SRFlow with a condition of None"),
    ],
)
def test_what_does_not_fit_is_refused(hr, lr, message):
    cond = None if lr is None else jnp.zeros(lr)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(FLOW.init, jax.random.key(0), jnp.zeros(hr), cond)


def test_latents_that_do_not_fit_are_refused():
    z = FLOW.draw(jax.random.key(0), HR)
    for given in (z[1:], (z[0], z[1][0])):
        with pytest.raises(ValueError, match="SRFlow on latents .* expected 2, those"):
            jax.eval_shape(decode, variables(), given, jnp.zeros(LR))
    # What would broadcast is no exception.
    with pytest.raises(ValueError, match="SRFlow on latents .* expected 2, those"):
        jax.eval_shape(decode, variables(), (z[0][:, :1, :1], z[1]), jnp.zeros(LR))
    with pytest.raises(ValueError, match="for 2 images of"):
        jax.eval_shape(decode, variables(), z, jnp.zeros((2, 8, 8, 3)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 6}, "power of 2"),
        ({"levels": 4}, "levels=4 with scale=4: expected 1 to 3"),
        ({"steps": 0}, "at least one step"),
        ({"dtype": "float16"}, "float16"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SRFlow(**settings)


def test_the_table_knows_it():
    assert build.FLOWS["srflow"] is SRFlow


def test_results_are_float32_whatever_the_networks():
    half = LEAST.clone(dtype="bfloat16")
    there, shapes = jax.eval_shape(
        half.init_with_output, jax.random.key(0), images(*HR), images(*LR)
    )
    leaves = jax.tree.leaves((there, shapes))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    program = str(
        jax.make_jaxpr(half.apply)(least_variables(), images(*HR), images(*LR))
    )
    assert "bf16" in program
