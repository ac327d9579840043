"""The slope of a sampler's own log density, at its samples, without its inverse."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.types import Context, Events, Flow, Mapped, Variables

Latents = tuple[Array, ...]
LogPrior = Callable[[Latents], Array]


def density_slope(
    student: Flow,
    variables: Variables,
    z: Latents,
    cond: Context | None,
    log_prior: LogPrior,
) -> Mapped:
    """grad_x log q(x) at x = S(z), of the student as it is; nothing is inverted.

    It solves J^T v = grad_z (log p(z) - log |det J|), J = dS/dz. J is dense here: as
    many reverse passes as there are dimensions and one linear system a row.

    Args:
      student: the sampler; only its `decode` is used, and rows must not touch.
      variables: its variables; held fixed.
      z: draws from its prior.
      cond: context.
      log_prior: log density of the prior, `z -> [batch]`.

    Returns:
      The slope v, of the shape of the samples. No gradient flows through it.

    Reference: Huang et al. (2019), eq. 6 and appendix B.
    """
    variables = jax.lax.stop_gradient(variables)
    shapes = [part.shape for part in z]
    sizes = [math.prod(shape[1:]) for shape in shapes]
    cuts = [sum(sizes[:i]) for i in range(1, len(sizes))]

    def sampled(flat_z):
        pieces = jnp.split(flat_z, cuts, axis=1)
        parts = tuple(p.reshape(s) for p, s in zip(pieces, shapes, strict=True))
        drawn = student.apply(variables, parts, cond, method="decode")
        x = drawn.x.reshape(flat_z.shape)
        return (x, log_prior(parts) - drawn.log_det), drawn.x

    (x, log_q), pull, event = jax.vjp(sampled, flat(z), has_aux=True)
    (slope_z,) = pull((jnp.zeros_like(x), jnp.ones_like(log_q)))

    def row(unit):
        return pull((jnp.broadcast_to(unit, x.shape), jnp.zeros_like(log_q)))[0]

    # [output, batch, input] to each row's transposed Jacobian.
    transposed = jnp.transpose(
        jax.vmap(row)(jnp.eye(x.shape[1], dtype=x.dtype)), (1, 2, 0)
    )
    slope = jnp.linalg.solve(transposed, slope_z[..., None])[..., 0]
    return jax.lax.stop_gradient(slope.reshape(event.shape))


def flat(z: Latents) -> Events:
    """All latents of a row as one vector."""
    return jnp.concatenate([part.reshape(part.shape[0], -1) for part in z], axis=1)
