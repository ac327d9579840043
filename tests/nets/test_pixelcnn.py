"""The causal U-Net: its size, its order, its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets import causal_unet, causal_unet_sampling
from fdnf.nets.pixelcnn import CausalUNet
from fdnf.ops import trees


def parameters(net, channels, outputs, context=None):
    x = jax.ShapeDtypeStruct((2, 4, 4, channels), jnp.float32)
    cond = None if context is None else jax.ShapeDtypeStruct((2, context), jnp.float32)
    init = jax.eval_shape(
        lambda key, x, cond: net.init(key, x, outputs, cond),
        jax.random.key(0),
        x,
        cond,
    )
    return trees.parameter_count(init["params"])


def test_parameter_count():
    # Two channels, one block: concatenated ELUs make 4 of 2.
    inner, outer = 4 * 2, 4 * 4
    vertical_block = 6 * inner + 2 + 6 * outer + 4
    horizontal_block = 4 * inner + 2 + 4 * outer + 4 + inner
    skip = inner
    # The image and its ones: 2 x 3 above; 1 x 3 above and 2 x 1 to the left.
    first = (6 + 3 + 2) * 2 * 2 + 3 * 2
    output = 2 * 3 + 3
    one_stage = first + output + 2 * (vertical_block + horizontal_block + skip)
    assert parameters(CausalUNet(2, 1, 1), 1, 3) == one_stage
    # The finer stage has two blocks on its way up; shrink and grow lead between.
    blocks = 5 * (vertical_block + horizontal_block) + 2 * 3 * skip
    halving = (6 * 4 + 2) + (4 * 4 + 2) + 2 * (4 * 4 + 2)
    assert parameters(CausalUNet(2, 1, 2), 1, 3) == first + output + blocks + halving
    # A context of 5 reaches what is before the gate of each block of both streams.
    assert parameters(CausalUNet(2, 1, 1), 1, 3, 5) == one_stage + 4 * 5 * 4


def drawn(net, x, outputs, cond=None):
    """Variables, without the compilation of `init`."""
    shapes = jax.eval_shape(
        lambda x, cond: net.init(jax.random.key(0), x, outputs, cond), x, cond
    )
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape), leaf.dtype), shapes
    )


@pytest.mark.parametrize(
    ("size", "blocks", "stages"), [((6, 5), 2, 1), ((5, 6), 1, 2)], ids=str
)
def test_outputs_see_the_pixels_before_them(size, blocks, stages):
    """All of them: with no pixel before in the shade of another."""
    net = CausalUNet(2, blocks, stages)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, *size, 1)), jnp.float32)
    variables = drawn(net, x, 1)
    jacobian = jax.jit(jax.jacfwd(lambda x: net.apply(variables, x, 1)))(x)
    seen = np.abs(jacobian.reshape(x.size, x.size))
    assert np.triu(seen).max() == 0
    reached = seen[np.tril_indices(x.size, -1)] > 0
    assert np.mean(reached) > 0.95


def test_pixels_are_chosen_in_order():
    """With x = outputs + noise the network agrees with what was chosen."""
    net, noise = CausalUNet(2, 1, 2), np.random.default_rng(0).normal(size=(2, 3, 4, 2))
    noise = jnp.asarray(noise, jnp.float32)

    @jax.jit
    def run(variables, noise):
        weights = net.apply(variables, noise, 2, method="weights")
        x = causal_unet_sampling.generate(
            weights, noise, lambda outputs, noise: jnp.tanh(outputs) + noise
        )
        return x, causal_unet.evaluate(weights, x)

    x, outputs = run(drawn(net, noise, 2), noise)
    np.testing.assert_allclose(x, jnp.tanh(outputs) + noise, atol=1e-5)


def test_a_class_changes_the_outputs():
    net, x = CausalUNet(2, 1, 1), jnp.ones((3, 3, 3, 1))
    classes = jnp.eye(3)
    variables = drawn(net, x, 1, classes)
    outputs = jax.jit(lambda v: net.apply(v, x, 1, classes))(variables)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4
    assert np.abs(outputs[1] - outputs[2]).max() > 1e-4


def test_errors_say_what_is_expected():
    x = jnp.ones((2, 3, 3, 1))
    with pytest.raises(ValueError, match="stages=0: expected at least 1"):
        CausalUNet(2, 1, 0).init(jax.random.key(0), x, 1)
    with pytest.raises(ValueError, match="expected one vector an image"):
        CausalUNet(2, 1, 1).init(jax.random.key(0), x, 1, x)
