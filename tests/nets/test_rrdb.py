"""Residual dense blocks: shapes, taps, starts; factors of two in size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets import rrdb
from fdnf.ops import trees
from tests import laws


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def conv(x, layer):
    """XLA's own convolution, which the module does not use on CPU."""
    dims = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(
        x, layer["kernel"], (1, 1), "SAME", dimension_numbers=dims
    )
    return out + layer["bias"]


def leaky(h):
    return np.where(h > 0, h, 0.2 * h)


def dense(x, p):
    h1 = leaky(conv(x, p["conv_0"]))
    h2 = leaky(conv(jnp.concatenate([x, h1], -1), p["conv_1"]))
    return x + 0.2 * conv(jnp.concatenate([x, h1, h2], -1), p["conv_out"])


def moved(module, x):
    return laws.drawn(module, x, noise=0.5)


def test_a_block_is_the_published_one():
    x = draw(2, 5, 4, 3)
    module = rrdb.RRDB(rdbs=2, convs=3, growth=2)
    variables = moved(module, x)
    p = variables["params"]
    expected = x + 0.2 * dense(dense(x, p["rdb_0"]), p["rdb_1"])
    found = jax.jit(module.apply)(variables, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_of_one_dense_block_it_is_that_block():
    x = draw(2, 5, 4, 3)
    module = rrdb.RRDB(rdbs=1, convs=3, growth=2)
    variables = moved(module, x)
    expected = dense(x, variables["params"]["rdb_0"])
    found = jax.jit(module.apply)(variables, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


SETTINGS = {"features": 4, "blocks": 4, "growth": 2, "rdbs": 1, "convs": 3}
ENCODER = rrdb.Encoder(4, **SETTINGS, taps=(3, 1))
LEVELS = (0, 1, 2, 3)


@functools.partial(jax.jit, static_argnums=0)
def run(encoder, variables, x):
    return encoder.apply(variables, x, LEVELS)


@functools.cache
def encoded():
    x = draw(2, 6, 4, 3)
    variables = moved(ENCODER, x)
    return x, variables, run(ENCODER, variables, x)


def test_the_encoder_is_what_its_parts_make():
    x, variables, found = encoded()
    p = variables["params"]
    h = first = conv(x, p["conv_first"])
    outputs = []
    for i in range(4):
        h = dense(h, trees.take_run(p["blocks"]["rdb_0"], i))
        outputs.append(h)
    deep = first + conv(h, p["conv_trunk"])

    def up(h, times=2):
        return np.repeat(np.repeat(h, times, axis=1), times, axis=2)

    up_2 = leaky(conv(up(deep), p["conv_up_1"]))
    up_4 = leaky(conv(up(up_2), p["conv_up_2"]))
    image = conv(leaky(conv(up_4, p["conv_hr"])), p["conv_last"])
    np.testing.assert_allclose(found.image, image, atol=1e-4)

    taps = np.concatenate([outputs[3], outputs[1]], axis=-1)
    half = sum(deep[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    expected = [
        (up_4, up(taps, 4)),
        (up_2, up(taps)),
        (deep, taps),
        (half, taps[:, ::2, ::2]),
    ]
    for one, two in zip(found.maps, expected, strict=True):
        np.testing.assert_allclose(one, np.concatenate(two, -1), atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_sizes_at_published_width(scale):
    encoder = rrdb.Encoder(scale)
    levels = tuple(range(encoder.deepest() + 1))
    x = jnp.zeros((1, 6, 8, 3))
    found, _ = jax.eval_shape(
        functools.partial(encoder.init_with_output, levels=levels), jax.random.key(0), x
    )
    assert found.image.shape == (1, 6 * scale, 8 * scale, 3)
    assert encoder.width() == 320
    for level, one in zip(levels, found.maps, strict=True):
        sides = (6 * scale // 2**level, 8 * scale // 2**level)
        assert one.shape == (1, *sides, 320)


def test_unrolled_and_kept_it_is_the_same():
    x, variables, found = encoded()
    other = ENCODER.clone(unroll=4, remat=False)
    again = run(other, variables, x)
    laws.assert_close(found, again, 1e-5, "unrolled")


def test_without_taps_maps_are_activations():
    x, variables, found = encoded()
    plain = run(ENCODER.clone(taps=()), variables, x)
    for one, two in zip(plain.maps, found.maps, strict=True):
        np.testing.assert_allclose(one, two[..., :4], atol=1e-6)


def test_counts_are_the_published_ones():
    def count(**settings):
        shapes = jax.eval_shape(
            rrdb.Encoder(**settings).init, jax.random.key(0), jnp.zeros((1, 4, 4, 3))
        )
        return trees.parameter_count(shapes["params"])

    assert count() == 16_697_987
    assert count(scale=8) == 16_734_915
    assert count(scale=8, rdbs=1, convs=3) == 2_946_691


def test_odd_images_only_where_no_map_is_halved():
    shapes = functools.partial(jax.eval_shape, ENCODER.init, jax.random.key(0))
    shapes(jnp.zeros((1, 5, 3, 3)))
    refused = ENCODER.clone()
    with pytest.raises(ValueError, match="5 x 3: the map of level 3 has half"):
        jax.eval_shape(
            functools.partial(refused.init, levels=(1, 3)),
            jax.random.key(0),
            jnp.zeros((1, 5, 3, 3)),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 3}, "scale=3: expected a power of 2"),
        ({"scale": 1}, "scale=1"),
        ({"blocks": 0}, "blocks=0: expected at least 1"),
        ({"dtype": "float16"}, "dtype='float16'.: expected one of"),
        ({"blocks": 4, "taps": (4,)}, "different numbers from 0 to 3"),
        ({"blocks": 4, "taps": (1, 1)}, "different numbers from 0 to 3"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        rrdb.Encoder(**settings)


def test_unknown_levels_are_refused():
    with pytest.raises(ValueError, match="levels 0 to 3"):
        ENCODER.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), (4,))


X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 3)), jnp.float32)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_nearest_up_repeats(times):
    expected = np.repeat(np.repeat(X, times, axis=1), times, axis=2)
    np.testing.assert_array_equal(rrdb.nearest_up(X, times), expected)


def test_nearest_down_undoes_it():
    up = rrdb.nearest_up(X, 2)
    np.testing.assert_array_equal(rrdb.nearest_down(up), X)


def test_mean_down_is_bilinear_resampling():
    expected = jax.image.resize(X, (2, 2, 3, 3), "linear", antialias=False)
    np.testing.assert_allclose(rrdb.mean_down(X), expected, atol=1e-6)
