"""The WaveNet stack: its equation, what an output sees, how it starts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets.wavenet import WaveNet
from fdnf.ops import convolutions
from tests import laws

TIME, INPUTS, OUTPUTS, CONTEXT = 17, 2, 3, 4
NET = WaveNet(layers=2, channels=5)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, COND = draw(2, TIME, INPUTS), draw(2, TIME, CONTEXT, seed=1)


def made(net=NET, cond=COND):
    def init(x, cond):
        return net.init(jax.random.key(0), x, OUTPUTS, cond)

    shapes = jax.eval_shape(init, X, cond)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return laws.perturb(zeros, 1.0)


def test_is_its_equation():
    variables = made()
    p, n = variables["params"], NET.channels

    def conv(name, h, dilation=1):
        kernel = p[name]["kernel"]
        return convolutions.convolve_dilated(h, kernel, dilation) + p[name]["bias"]

    h, total, context = conv("start", X), 0.0, conv("cond", COND)
    for i, dilation in enumerate((1, 2)):
        raw = (
            conv(f"dilated_{i}", h, dilation) + context[..., 2 * n * i :][..., : 2 * n]
        )
        gated = jnp.tanh(raw[..., :n]) / (1 + jnp.exp(-raw[..., n:]))
        out = conv(f"res_skip_{i}", gated)
        if i == 0:
            h, out = h + out[..., :n], out[..., n:]
        total = total + out
    found = NET.apply(variables, X, OUTPUTS, COND)
    np.testing.assert_allclose(found, conv("end", total), atol=2e-5)
    assert p["res_skip_0"]["kernel"].shape[-1] == 2 * n
    assert p["res_skip_1"]["kernel"].shape[-1] == n


@pytest.mark.parametrize(("layers", "taps", "reach"), [(1, 3, 1), (3, 3, 7), (2, 5, 6)])
def test_sees_as_far_as_it_says_to_both_sides(layers, taps, reach):
    net = WaveNet(layers, 4, taps)
    assert net.reach() == reach
    variables = made(net)

    def total(x, cond):
        out = net.apply(variables, x, OUTPUTS, cond)
        return jnp.sum(out**2, axis=(0, 2))

    by_x, by_cond = jax.jit(jax.jacrev(total, (0, 1)))(X, COND)
    seen = np.abs(by_x).sum(axis=(1, 3)) > 0
    distance = np.abs(np.subtract.outer(np.arange(TIME), np.arange(TIME)))
    np.testing.assert_array_equal(seen, distance <= reach)
    # The condition enters every layer, after its dilated convolution.
    last = (taps // 2) * 2 ** (layers - 1)
    seen = np.abs(by_cond).sum(axis=(1, 3)) > 0
    if layers == 1:
        np.testing.assert_array_equal(seen, distance == 0)
    else:
        assert seen[distance == 0].all()
        assert seen[distance == last].all()
    assert not seen[distance > reach].any()


def test_starts():
    @functools.partial(jax.jit, static_argnums=0)
    def first(net, x, cond):
        return net.init_with_output(jax.random.key(0), x, OUTPUTS, cond)[0]

    zero = WaveNet(2, 4, zero=True)
    np.testing.assert_array_equal(first(zero, X, COND), 0.0)
    assert np.std(first(zero.clone(zero=False), X, COND)) > 0.05


def test_goes_without_a_condition():
    variables = made(cond=None)
    assert "cond" not in variables["params"]
    assert NET.apply(variables, X, OUTPUTS).shape == (2, TIME, OUTPUTS)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="upsample it first"):
        NET.init(jax.random.key(0), X, OUTPUTS, COND[:, :5])
    with pytest.raises(ValueError, match="layers=0"):
        WaveNet(0).init(jax.random.key(0), X, OUTPUTS)
