"""WaveNet by its definition, and the upsampling of its condition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets.wavenet import MelUpsampler, WaveNet
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
    found = jax.jit(lambda v: NET.apply(v, X, OUTPUTS, COND))(variables)
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
    found = jax.eval_shape(lambda v: NET.apply(v, X, OUTPUTS), variables)
    assert found.shape == (2, TIME, OUTPUTS)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="upsample it first"):
        NET.init(jax.random.key(0), X, OUTPUTS, COND[:, :5])
    with pytest.raises(ValueError, match="layers=0"):
        WaveNet(0).init(jax.random.key(0), X, OUTPUTS)


UPSAMPLER = MelUpsampler(group=4, hop=8, taps=24)
MEL = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)


def made_of_mel(upsampler=UPSAMPLER, time=32):
    return jax.jit(upsampler.init, static_argnums=2)(jax.random.key(0), MEL, time)


def test_is_the_transposed_convolution_cut_and_grouped():
    variables = jax.tree.map(lambda leaf: leaf + 0.1, made_of_mel())
    p = variables["params"]
    fine = convolutions.upsample(MEL, p["kernel"], 8) + p["bias"]
    apply = jax.jit(UPSAMPLER.apply, static_argnums=2)
    for time in (4, 28, 40):
        found = apply(variables, MEL, time)
        assert found.shape == (2, time // 4, 12)
        np.testing.assert_allclose(found.reshape(2, time, 3), fine[:, :time], atol=1e-5)


def test_a_sample_sees_its_frame_and_those_before_as_far_as_the_taps():
    variables = made_of_mel()

    def size(mel):
        return jnp.sum(UPSAMPLER.apply(variables, mel, 40) ** 2, axis=(0, 2))

    seen = np.abs(jax.jit(jax.jacrev(size))(MEL)).sum(axis=(1, 3)) > 0
    groups, frames = np.arange(10)[:, None] // 2, np.arange(5)[None]
    expected = (frames <= groups) & (groups - frames < 24 // 8)
    np.testing.assert_array_equal(seen, expected)


def test_channels_may_be_fewer():
    upsampler = MelUpsampler(4, 8, 24, features=2)
    assert upsampler.apply(made_of_mel(upsampler), MEL, 32).shape == (2, 8, 8)


def test_frozen_weights_are_constants_without_a_gradient():
    frozen = UPSAMPLER.clone(frozen=True)
    variables = made_of_mel(frozen)
    assert set(variables) == {"constants"}
    assert np.std(variables["constants"]["kernel"]) > 0

    def size(variables, mel):
        return jnp.sum(frozen.apply(variables, mel, 32) ** 2)

    weights, mel = jax.jit(jax.grad(size, (0, 1)))(variables, MEL)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(weights))
    assert np.all(mel[:, :4] != 0)
    same = UPSAMPLER.apply({"params": variables["constants"]}, MEL, 32)
    np.testing.assert_array_equal(frozen.apply(variables, MEL, 32), same)


def test_refuses_a_mel_that_is_too_short():
    with pytest.raises(ValueError, match="5 frames of 8 samples for 44 samples: .* 6"):
        made_of_mel(time=44)
    with pytest.raises(ValueError, match=r"expected a log-mel spectrogram"):
        UPSAMPLER.init(jax.random.key(0), MEL[0], 32)
    with pytest.raises(ValueError, match="30 samples in groups of 4"):
        made_of_mel(time=30)
