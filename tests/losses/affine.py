"""Affine Gaussian flows, for which every loss has a closed form.

z = (x - mean) / std, in `levels` equal parts of the way: level k is
x + (k / levels) (z - x).
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
import scipy.special

from fdnf import types


def _levels(x, z, count):
    return tuple(x + (k + 1) / count * (z - x) for k in range(count))


def _encode(variables, x, cond=None, *, count):
    del cond
    z = (x - variables["mean"]) / variables["std"]
    log_prior = -0.5 * jnp.sum(z**2 + math.log(2 * math.pi), axis=-1)
    log_det = jnp.broadcast_to(-jnp.sum(jnp.log(variables["std"])), x.shape[:1])
    return types.Encoding((z,), log_det, _levels(x, z, count), log_prior)


def _decode(variables, z, cond=None, *, count):
    del cond
    (z,) = z
    x = z * variables["std"] + variables["mean"]
    log_det = jnp.broadcast_to(jnp.sum(jnp.log(variables["std"])), x.shape[:1])
    return types.Decoding(x, log_det, _levels(x, z, count))


@functools.cache
def flow(count: int = 1) -> types.ExternalFlow:
    """An affine flow that reports `count` levels."""
    return types.ExternalFlow(
        encode=functools.partial(_encode, count=count),
        decode=functools.partial(_decode, count=count),
    )


def variables(mean, std):
    return {
        "mean": jnp.asarray(mean, jnp.float32),
        "std": jnp.asarray(std, jnp.float32),
    }


def normal_grid(size: int = 4096, dim: int = 2):
    """`[size, dim]` quantiles of N(0, 1), each column in an order of its own.

    Means over them are integrals over the normal density, within about 1e-3.
    """
    quantiles = scipy.special.ndtri((np.arange(size) + 0.5) / size)
    draw = np.random.default_rng(0)
    columns = [draw.permutation(quantiles) for _ in range(dim)]
    return jnp.asarray(np.stack(columns, axis=1), jnp.float32)


def mean_distance(distance: str, slope, offset):
    """E d(slope u + offset, 0) for u ~ N(0, 1), per dimension."""
    slope, offset = np.abs(np.asarray(slope, float)), np.asarray(offset, float)
    if distance == "l2":
        return slope**2 + offset**2
    # The mean of a folded normal.
    ratio = offset / slope
    return slope * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + offset * (
        1 - 2 * scipy.special.ndtr(-ratio)
    )
