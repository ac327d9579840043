"""The block beside feature maps is the block with a condition, its kernel in two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets.conv import ConvBlock, FeatureBlock
from fdnf.ops import trees
from tests import laws


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, COND = draw(2, 5, 4, 3), draw(2, 5, 4, 7, seed=1)


@pytest.mark.parametrize("norm", [True, False])
def test_it_is_a_conv_block_on_both(norm):
    module, plain = FeatureBlock(6, norm), ConvBlock(6, norm)
    init = jax.jit(module.init, static_argnums=2)
    variables = laws.perturb(init(jax.random.key(0), X, 4, COND), 0.5)
    params = dict(variables["params"])
    features = params.pop("conv_features")["kernel"]
    kernel = jnp.concatenate([params["conv_in"]["kernel"], features], axis=2)
    whole = {**params, "conv_in": {**params["conv_in"], "kernel": kernel}}
    found = module.apply(variables, X, 4, COND)
    assert np.ptp(found) > 0.1
    expected = plain.apply({"params": whole}, X, 4, COND)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    shapes = jax.eval_shape(lambda x: plain.init(jax.random.key(0), x, 4, COND), X)
    counts = [trees.parameter_count(v["params"]) for v in (variables, shapes)]
    assert counts[0] == counts[1]


def test_norms_take_statistics_of_the_sum():
    module = FeatureBlock(6)
    variables = module.init(jax.random.key(0), X, 4, 3.0 * COND + 5.0)
    _, state = module.apply(
        variables, X, 4, 3.0 * COND + 5.0, capture_intermediates=True
    )
    (after,) = state["intermediates"]["conv_in"]["__call__"]
    np.testing.assert_allclose(np.mean(after, axis=(0, 1, 2)), np.zeros(6), atol=1e-4)
    np.testing.assert_allclose(np.std(after, axis=(0, 1, 2)), np.ones(6), atol=1e-3)


@pytest.mark.parametrize("cond", [None, draw(2, 7), draw(2, 4, 4, 7)])
def test_other_conditions_are_refused(cond):
    with pytest.raises(ValueError, match="expected feature maps"):
        FeatureBlock(6).init(jax.random.key(0), X, 4, cond)
