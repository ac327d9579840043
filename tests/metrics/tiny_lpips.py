"""Weights of AlexNet's shapes by a rule, for tests that need no published ones."""

import jax.numpy as jnp
import numpy as np

from fdnf.metrics import backbones, lpips


def tiny_params(seed=0):
    rng = np.random.default_rng(seed)
    inputs, convolutions, heads = 3, [], []
    for filters, size, *_ in backbones.ALEXNET_LAYERS:
        shape = (size, size, inputs, filters)
        kernel = rng.normal(size=shape) * (2 / (size * size * inputs)) ** 0.5
        bias = 0.1 * rng.normal(size=filters)
        convolutions.append(
            backbones.Convolution(
                jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32)
            )
        )
        heads.append(jnp.asarray(rng.random(filters), jnp.float32))
        inputs = filters
    return lpips.Params(tuple(convolutions), tuple(heads))
