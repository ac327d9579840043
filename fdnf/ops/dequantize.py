"""From grey levels to densities and back: bits, uniform noise, logit.

Everything is in units of one grey level, so that the density of dequantised images is
that of the discrete ones: E_u log p(x + u), u uniform on [0, 1), is a lower bound of
log P(x), and the log of the mean over draws of p(x + u) a tighter one.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

Grey = Integer[Array, "batch *event"]
LogDet = Float[Array, " batch"]
Real = Float[Array, "batch *event"]


def reduce_bits(x: Grey, bits: int) -> Grey:
    """Keeps the `bits` highest of 8 bits: floor(x / 2^(8 - bits)).

    Raises:
      ValueError: for bits outside 1 to 8, and images that are no whole numbers.

    Reference: Kingma and Dhariwal (2018), section 6.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"bits={bits}: expected 1 to 8")
    _check_levels(x)
    return x // (2 ** (8 - bits))


def uniform(key: PRNGKeyArray, x: Grey) -> Real:
    """Adds noise: x + u, u uniform on [0, 1).

    Raises:
      ValueError: for images that are no whole numbers.

    Reference: Theis et al. (2016), A note on the evaluation of generative models.
    """
    _check_levels(x)
    return x.astype(jnp.float32) + jax.random.uniform(key, x.shape)


def centre(x: Real, levels: int) -> tuple[Real, LogDet]:
    """Maps [0, levels) to [-1/2, 1/2), with log |det| in nats."""
    size = x[0].size
    log_det = jnp.full(x.shape[:1], -size * math.log(levels), x.dtype)
    return x / levels - 0.5, log_det


def uncentre(y: Real, levels: int) -> Real:
    """Undoes `centre`."""
    return (y + 0.5) * levels


def logit(x: Real, levels: int, margin: float) -> tuple[Real, LogDet]:
    """Stretches [0, levels) to the line, with log |det| in nats.

    y = log p - log(1 - p), p = margin + (1 - 2 margin) x / levels

    Reference: Dinh et al. (2017), section 4.1; Papamakarios et al. (2017), E.2.
    """
    p = margin + (1 - 2 * margin) * x / levels
    y = jnp.log(p) - jnp.log1p(-p)
    slope = math.log((1 - 2 * margin) / levels) - jnp.log(p) - jnp.log1p(-p)
    return y, jnp.sum(slope.reshape(slope.shape[0], -1), axis=1)


def unlogit(y: Real, levels: int, margin: float) -> Real:
    """Undoes `logit`."""
    return (jax.nn.sigmoid(y) - margin) * levels / (1 - 2 * margin)


def to_levels(x: Real, levels: int) -> Integer[Array, "batch *event"]:
    """The grey level that each value lies in: floor, cut to 0 .. levels - 1."""
    return jnp.clip(jnp.floor(x), 0, levels - 1).astype(jnp.uint8)


def _check_levels(x: Array) -> None:
    # Noise of a whole level would be as large as all of an image in [0, 1].
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(
            f"images of {x.dtype}: expected grey levels, whole numbers from 0. Of"
            " images in [0, 1] that is round(255 * x)."
        )
