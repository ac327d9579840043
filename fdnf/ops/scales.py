"""Bounded scales: every multiplicative factor of a flow goes through one of these.

An unbounded exp(a) is what makes flows explode in the direction that nobody trained:
a latent slightly outside the training range then decodes to infinity. Both maps below
are smooth, strictly monotone and bounded on both sides.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Raw = Float[Array, "*shape"]


def soft_clamp(raw: Raw, bound: float = 5.0) -> Raw:
    """Log-scale in (-bound, bound): bound * tanh(raw / bound), slope 1 at 0."""
    return bound * jnp.tanh(raw / bound)


def inverse_soft_clamp(log_scale: Raw, bound: float = 5.0) -> Raw:
    """The `raw` whose soft clamp is `log_scale`, which is cut to 99 % of the bound."""
    return bound * jnp.arctanh(jnp.clip(log_scale / bound, -0.99, 0.99))


def sigmoid_log_scale(raw: Raw, floor: float = 1e-3) -> Raw:
    """Log-scale in (log floor, 0): log(floor + (1 - floor) sigmoid(raw + 2)).

    Near 0 for raw = 0, as in Glow's released code; the floor bounds what the inverse
    divides by, which the released code leaves open.

    Reference: Kingma and Dhariwal (2018), released code.
    """
    return jnp.log(floor + (1.0 - floor) * jax.nn.sigmoid(raw + 2.0))
