"""Convolutional conditioners: starts, conditions, precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets.conv import Conv, ConvBlock, ConvResNet, FeatureBlock, ZeroConv
from fdnf.ops import conditioners, trees
from tests import floats, laws

FEATURES, HIDDEN, WIDTH = 6, 8, 3
NETS = [ConvBlock(HIDDEN), ConvBlock(HIDDEN, norm=False), ConvResNet(HIDDEN)]
over_nets = pytest.mark.parametrize("net", NETS, ids=["block", "bias", "residual"])


def images(rows=16, channels=3, seed=0):
    draw = np.random.default_rng(seed).normal(size=(rows, 4, 6, channels))
    return jnp.asarray(3.0 + 5.0 * draw, jnp.float32)


def vectors(rows=16, seed=1):
    draw = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return jnp.asarray(draw, jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def init(net, x, cond):
    return net.init(jax.random.key(0), x, FEATURES, cond)


def made(net, cond=None):
    return images(), init(net, images(), cond)


@functools.partial(jax.jit, static_argnums=0)
def run(net, variables, x, cond=None):
    return net.apply(variables, x, FEATURES, cond)


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("size", [1, 3])
def test_the_norm_starts_at_mean_0_and_variance_1(size, dtype):
    conv, x = Conv(HIDDEN, size, dtype=dtype), images()
    y, _ = jax.jit(conv.init_with_output)(jax.random.key(0), x)
    y = np.asarray(y, np.float64).reshape(-1, HIDDEN)
    tolerance = 1e-4 if dtype is None else 0.03
    np.testing.assert_allclose(y.mean(axis=0), np.zeros(HIDDEN), atol=tolerance)
    np.testing.assert_allclose(y.std(axis=0), np.ones(HIDDEN), atol=tolerance)


def test_the_norm_takes_what_is_added_into_account():
    extra = 9.0 * vectors()[:, None, None, :1] + jnp.arange(8.0)
    first = jax.jit(Conv(HIDDEN).init_with_output)
    y, variables = first(jax.random.key(0), images(), extra)
    np.testing.assert_allclose(np.mean(y, axis=(0, 1, 2)), np.zeros(8), atol=1e-4)
    np.testing.assert_allclose(np.std(y, axis=(0, 1, 2)), np.ones(8), atol=1e-4)
    other = jax.jit(Conv(HIDDEN).apply)(variables, images(), 2.0 * extra)
    assert np.max(np.abs(np.mean(other, axis=(0, 1, 2)))) > 0.1


def test_statistics_are_taken_once():
    x, variables = made(NETS[0])
    one = run(NETS[0], laws.perturb(variables, 0.3), x)
    two = run(NETS[0], laws.perturb(variables, 0.3), 4.0 * x)
    assert np.max(np.abs(one - two)) > 0.1
    alone = run(NETS[0], laws.perturb(variables, 0.3), x[:2])
    np.testing.assert_allclose(alone, one[:2], rtol=1e-4, atol=1e-5)


def test_a_constant_channel_does_not_divide_by_0():
    x = images().at[..., 0].set(2.0)
    conv = Conv(HIDDEN, 1)
    first = jax.jit(conv.init_with_output)
    y, variables = first(jax.random.key(0), jnp.ones_like(x))
    assert np.all(np.isfinite(y))
    assert np.all(np.isfinite(jax.jit(conv.apply)(variables, x)))


@over_nets
def test_output_starts_at_0_and_gradients_reach_it(net):
    x, variables = made(net)
    y = run(net, variables, x)
    assert y.shape == (*x.shape[:3], FEATURES)
    np.testing.assert_array_equal(y, np.zeros_like(y))

    def objective(params):
        return jnp.sum(jnp.cos(1.0 + net.apply({"params": params}, x, FEATURES)))

    slope = jax.jit(jax.grad(objective))(variables["params"])
    assert np.any(slope["conv_out"]["kernel"] != 0)


def test_zero_conv_scales_three_times_as_fast():
    conv, x = ZeroConv(2), images()
    params = jax.jit(conv.init)(jax.random.key(0), x)["params"]
    apply = jax.jit(conv.apply)
    raw = jnp.asarray([0.1, -0.2])
    moved = {"kernel": params["kernel"] + 0.1, "bias": jnp.asarray([1.0, -1.0])}
    plain = apply({"params": {**params, **moved}}, x)
    scaled = apply({"params": {**moved, "raw_log_scale": raw}}, x)
    factor = np.exp(conditioners.soft_clamp(3 * raw, 12.0))
    floats.assert_close(scaled, plain * factor, rtol=1e-5)


@over_nets
def test_a_vector_is_one_condition_for_the_whole_image(net):
    cond = vectors()
    x, variables = made(net, cond)
    variables = laws.perturb(variables, 0.5)
    one, two = run(net, variables, x, cond), run(net, variables, x, -cond)
    assert np.min(np.max(np.abs(one - two), axis=(1, 2, 3))) > 1e-3
    only_first = cond.at[0].set(-cond[0])
    mixed = run(net, variables, x, only_first)
    np.testing.assert_allclose(mixed[0], two[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mixed[1:], one[1:], rtol=1e-4, atol=1e-5)


@over_nets
def test_an_image_is_a_condition_at_each_position(net):
    cond = images(channels=2, seed=3)
    x, variables = made(net, cond)
    assert variables["params"]["conv_in"]["kernel"].shape[2] == 3 + 2
    variables = laws.perturb(variables, 0.5)
    one = run(net, variables, x, cond)
    moved = run(net, variables, x, cond.at[:, 0, 0].add(3.0))
    change = np.max(np.abs(moved - one), axis=(0, 3))
    assert change[0, 0] > 1e-3
    if isinstance(net, ConvBlock):
        # Two 3x3 convolutions see two pixels far.
        assert np.all(change[3:] == 0)
        assert np.all(change[:, 3:] == 0)


@over_nets
def test_images_of_another_size_are_refused(net):
    x = images()
    for cond in (x[:, :2], x[:, :, :2], x[..., 0]):
        with pytest.raises(ValueError, match="expected (images of that|a vector)"):
            net.init(jax.random.key(0), x, FEATURES, cond)


@over_nets
def test_bfloat16_arithmetic_returns_float32(net):
    x, variables = made(net)
    variables = laws.perturb(variables, 0.3)
    half = net.clone(dtype="bfloat16")
    full, low = run(net, variables, x), run(half, variables, x)
    assert low.dtype == jnp.float32
    error = np.max(np.abs(full - low)) / np.max(np.abs(full))
    assert 1e-6 < error < 0.05
    made_low = jax.eval_shape(lambda k: half.init(k, x, FEATURES), jax.random.key(0))
    assert jax.tree.structure(made_low) == jax.tree.structure(variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(made_low)} == {np.dtype("float32")}


@over_nets
@pytest.mark.parametrize("dtype", [None, "float32"])
def test_float64_stays_float64_unless_asked(net, dtype):
    x, variables = made(net)
    variables = laws.perturb(variables, 0.3)
    single = np.asarray(run(net, variables, x))
    with jax.enable_x64(True):
        double = laws.cast((variables, x), np.float64)
        found = np.asarray(run(net.clone(dtype=dtype), *double))
    assert found.dtype == np.float64
    error = np.max(np.abs(found - single)) / np.max(np.abs(found))
    assert 0 < error < 1e-4


@pytest.mark.parametrize("cond", [None, vectors()], ids=["plain", "cond"])
@over_nets
def test_parameters_are_float32_where_x64_is_on(net, cond):
    x = images()
    with jax.enable_x64(True):
        shapes = jax.eval_shape(
            lambda k: net.init(k, x, FEATURES, cond), jax.random.key(0)
        )
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, COND = draw(2, 5, 4, 3), draw(2, 5, 4, 7, seed=1)


@pytest.mark.parametrize("norm", [True, False])
def test_it_is_a_conv_block_on_both(norm):
    module, plain = FeatureBlock(6, norm), ConvBlock(6, norm)
    variables = laws.perturb(init(module, X, COND), 0.5)
    params = dict(variables["params"])
    features = params.pop("conv_features")["kernel"]
    kernel = jnp.concatenate([params["conv_in"]["kernel"], features], axis=2)
    whole = {**params, "conv_in": {**params["conv_in"], "kernel": kernel}}
    found = run(module, variables, X, COND)
    assert np.ptp(found) > 0.1
    expected = run(plain, {"params": whole}, X, COND)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    shapes = jax.eval_shape(lambda x: init(plain, x, COND), X)
    counts = [trees.parameter_count(v["params"]) for v in (variables, shapes)]
    assert counts[0] == counts[1]


def test_norms_take_statistics_of_the_sum():
    module = FeatureBlock(6)
    cond = 3.0 * COND + 5.0
    variables = init(module, X, cond)

    @jax.jit
    def captured(variables):
        return module.apply(variables, X, FEATURES, cond, capture_intermediates=True)

    _, state = captured(variables)
    (after,) = state["intermediates"]["conv_in"]["__call__"]
    np.testing.assert_allclose(np.mean(after, axis=(0, 1, 2)), np.zeros(6), atol=1e-4)
    np.testing.assert_allclose(np.std(after, axis=(0, 1, 2)), np.ones(6), atol=1e-3)


@pytest.mark.parametrize("cond", [None, draw(2, 7), draw(2, 4, 4, 7)])
def test_other_conditions_are_refused(cond):
    with pytest.raises(ValueError, match="expected feature maps"):
        FeatureBlock(6).init(jax.random.key(0), X, 4, cond)
