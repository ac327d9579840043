"""Couplings and the injector: what moves, what stays, what is refused."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.coupling import AffineInjector, Coupling
from fdnf.nets.conv import ConvBlock
from fdnf.nets.mlp import MLP
from tests import floats, laws


class Ones(nn.Module):
    """A conditioner whose outputs are all 1."""

    def __call__(self, x, features, cond=None):
        return jnp.ones((*x.shape[:-1], features), x.dtype)


VECTOR = jnp.zeros((2, 5))
IMAGE = jnp.zeros((2, 3, 4, 2))


def moved(x, **settings):
    """True where a coupling by ones moved the first event."""
    y, log_det = jax.jit(functools.partial(Coupling(Ones(), **settings).apply, {}))(x)
    assert log_det.shape == (2,)
    return np.asarray(y[0] != x[0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 0, 1, 1, 1]),
        ({"swap": True}, [1, 1, 1, 0, 0]),
        ({"partition": "alternating"}, None),
    ],
)
def test_parts_of_a_vector(settings, expected):
    got = moved(VECTOR, **settings).astype(int)
    if expected is not None:
        np.testing.assert_array_equal(got, expected)
        return
    other = moved(VECTOR, swap=True, **settings).astype(int)
    np.testing.assert_array_equal(got + other, np.ones(5))
    np.testing.assert_array_equal(np.abs(np.diff(got)), np.ones(4))


def test_checkerboard_of_an_image():
    got = moved(IMAGE, partition="checkerboard")
    other = moved(IMAGE, partition="checkerboard", swap=True)
    np.testing.assert_array_equal(got, ~other)
    # Neighbours differ, channels do not.
    assert np.all(got[1:] != got[:-1])
    assert np.all(got[:, 1:] != got[:, :-1])
    assert np.all(got[..., 0] == got[..., 1])


def test_additive_keeps_volume():
    y, log_det = Coupling(Ones(), transformer="additive").apply({}, VECTOR)
    np.testing.assert_array_equal(log_det, np.zeros(2))
    np.testing.assert_array_equal(y[0], [0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("log_scale", "value"),
    [
        ("sigmoid", np.log(1e-3 + 0.999 / (1 + np.exp(-3)))),
        ("tanh", 5 * np.tanh(1 / 5)),
    ],
)
def test_affine_shifts_then_scales(log_scale, value):
    y, log_det = Coupling(Ones(), log_scale=log_scale).apply({}, VECTOR + 1)
    floats.assert_close(log_det, np.full(2, 3 * value), rtol=1e-5)
    floats.assert_close(y[0, 2:], np.full(3, 2 * np.exp(value)), rtol=1e-5)
    np.testing.assert_array_equal(y[0, :2], np.ones(2))


@pytest.mark.parametrize("partition", ["half", "alternating", "checkerboard"])
def test_what_moves_depends_on_what_stays_alone(partition):
    x = jnp.ones((1, 2, 2, 2)) if partition == "checkerboard" else jnp.ones((1, 4))
    still = jnp.asarray(
        ~moved(jnp.tile(x * 0, (2, *(1,) * (x.ndim - 1))), partition=partition)
    )[None]

    class Sum(nn.Module):
        @nn.compact
        def __call__(self, x, features, cond=None):
            total = jnp.sum(x, axis=tuple(range(1, x.ndim)), keepdims=True)
            return jnp.broadcast_to(total, (*x.shape[:-1], features))

    coupling = Coupling(Sum(), partition=partition, transformer="additive")
    y, _ = jax.jit(functools.partial(coupling.apply, {}))(x)
    floats.assert_close(y, jnp.where(still, x, x + jnp.sum(x * still)))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"transformer": "cubic"}, r"transformer is 'cubic': expected one of"),
        ({"transformer": {"bins": 4}}, r"expected one of \['additive', 'affine', 'com"),
        ({"transformer": {"name": "spline", "knots": 4}}, "'spline' has no 'knots'"),
        ({"transformer": {"name": "affine", "floor": 2.0}}, "at least 0 and below 1"),
        ({"log_scale": "exp"}, "'sigmoid', 'tanh'"),
        ({"partition": "thirds"}, "'half', 'alternating', 'checkerboard'"),
    ],
)
def test_unknown_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        Coupling(Ones(), **settings)


def test_events_that_cannot_be_split():
    with pytest.raises(ValueError, match="needs at least 2"):
        Coupling(Ones()).apply({}, jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match="checkerboard needs images"):
        Coupling(Ones(), partition="checkerboard").apply({}, VECTOR)


def test_an_odd_number_of_channels_conditions_on_the_smaller_part():
    coupling = Coupling(MLP((3,)))
    shapes = jax.eval_shape(coupling.init, jax.random.key(0), VECTOR)
    net = shapes["params"]["conditioner"]
    assert net["dense_0"]["kernel"].shape == (2, 3)
    assert net["output"]["kernel"].shape == (3, 6)


INJECTOR = AffineInjector(ConvBlock(4), floor=1e-4)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, COND = draw(2, 4, 4, 3), draw(2, 4, 4, 5, seed=1)


def made(noise):
    return laws.drawn(INJECTOR, X, COND, noise=noise)


forward = jax.jit(INJECTOR.apply)


def test_every_channel_is_affine_in_itself():
    variables = made(0.5)

    zero, log_det = forward(variables, jnp.zeros_like(X), COND)
    one, _ = forward(variables, jnp.ones_like(X), COND)
    y, other = forward(variables, X, COND)
    scale = one - zero
    np.testing.assert_allclose(y, zero + X * scale, atol=1e-5)
    assert np.ptp(scale, axis=(0, 1, 2)).min() > 1e-3
    np.testing.assert_array_equal(log_det, other)
    floats.assert_close(log_det, np.log(scale).sum(axis=(1, 2, 3)), rtol=1e-3)


def test_scales_are_bounded_however_large_the_condition():
    variables = made(50.0)
    inverse = jax.jit(functools.partial(INJECTOR.apply, method="inverse"))
    for sign in (-1e6, 1e6):
        y, log_det = forward(variables, X, sign * COND)
        assert np.all(np.isfinite(y))
        assert np.all(log_det <= 0.0)
        assert np.all(log_det >= 48 * np.log(1e-4) * 1.0001)
        back, _ = inverse(variables, X, sign * COND)
        assert np.all(np.isfinite(back))


@pytest.mark.parametrize("cond", [None, draw(2, 3, 4, 5)])
def test_other_conditions_are_refused(cond):
    with pytest.raises(ValueError, match="equal shape but for the channels"):
        INJECTOR.init(jax.random.key(0), X, cond)
