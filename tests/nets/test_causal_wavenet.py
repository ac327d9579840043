"""The causal WaveNet by its equation, whole and one time after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets import causal_wavenet
from fdnf.nets.causal_wavenet import CausalWaveNet
from fdnf.ops import convolutions
from tests import laws

TIME, OUTPUTS, CONTEXT = 19, 3, 2
NET = CausalWaveNet(layers=2, cycles=2, channels=4, taps=3, front=3)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, COND = draw(2, TIME, 1), draw(2, TIME, CONTEXT, seed=1)


def made(net=NET, cond=COND):
    def init(x, cond):
        return net.init(jax.random.key(0), x, OUTPUTS, cond)

    shapes = jax.eval_shape(init, X, cond)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return laws.perturb(zeros, 1.0)


def weights(net, variables, cond=COND):
    return net.apply(variables, X, OUTPUTS, cond, method="weights")


def test_is_its_equation():
    variables = made()
    p, n = variables["params"], NET.channels

    def conv(name, h, dilation=1):
        out = convolutions.convolve_dilated(
            h, p[f"{name}_kernel"], dilation, causal=True
        )
        return out + p[f"{name}_bias"]

    before = jnp.concatenate([jnp.zeros((2, 1, 1)), X[:, :-1]], axis=1)
    h, skips = jnp.maximum(conv("first", before), 0), 0.0
    for i, dilation in enumerate((1, 2, 1, 2)):
        kernel = p["context_kernel"][:, 2 * n * i : 2 * n * (i + 1)]
        raw = conv(f"dilated_{i}", h, dilation) + COND @ kernel
        gated = jnp.tanh(raw[..., :n]) / (1 + jnp.exp(-raw[..., n:]))
        out = conv(f"out_{i}", gated)
        if i < 3:
            h = (h + out[..., :n]) / np.sqrt(2)
        skips = skips + out[..., -n:]
    assert out.shape[-1] == n
    inner = conv("inner", jnp.maximum(skips, 0))
    expected = conv("last", jnp.maximum(inner, 0))
    found = NET.apply(variables, X, OUTPUTS, COND)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    "net",
    [NET, CausalWaveNet(3, 1, 4, 2, 1), CausalWaveNet(1, 2, 4, 2, 4)],
    ids=["three taps", "two taps", "no dilation"],
)
def test_sees_the_past_as_far_as_it_says(net):
    variables, at = made(net), TIME - 1
    slopes = jax.grad(
        lambda x: jnp.sum(net.apply(variables, x, OUTPUTS, COND)[:, at] ** 2)
    )(X)
    seen = np.any(np.asarray(slopes) != 0, axis=(0, 2))
    first = max(at - net.reach(), 0)
    assert not seen[at]
    assert seen[first:at].all()
    assert not seen[:first].any()


@pytest.mark.parametrize("cond", [COND, None], ids=["given", "alone"])
def test_one_after_the_other_is_the_whole(cond):
    """What was chosen of outputs is what the whole network says of the choice."""
    variables = made(cond=cond)
    known = weights(NET, variables, cond)

    def choose(outputs, noise):
        return jnp.tanh(outputs[:, :1]) + outputs[:, 1:2] * noise

    @jax.jit
    def both(known, noise):
        x, said = causal_wavenet.generate(NET.dilations, known, noise, cond, choose)
        return x, said, causal_wavenet.evaluate(NET.dilations, known, x, cond)

    x, said, whole = both(known, X)
    assert x.shape == X.shape
    assert np.std(said) > 0.1
    np.testing.assert_allclose(said, whole, atol=1e-5)
    again = choose(whole.reshape(-1, OUTPUTS), X.reshape(-1, 1)).reshape(X.shape)
    np.testing.assert_allclose(x, again, atol=1e-5)


def test_wrong_uses():
    for wrong in ({"taps": 1}, {"layers": 0}, {"front": 0}):
        with pytest.raises(ValueError, match="expected at least 1 of each, and 2 taps"):
            CausalWaveNet(**wrong)
