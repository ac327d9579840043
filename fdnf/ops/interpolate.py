"""Paths and surfaces between latents: straight, norm-corrected, and of four points."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import rows as of_rows

Latent = Float[Array, "batch *event"]
PerRow = Float[Array, " batch"]


def linear(u: Latent, v: Latent, alpha: PerRow) -> Latent:
    """Points on the straight line: (1 - alpha) u + alpha v.

    Args:
      u: where alpha is 0.
      v: where alpha is 1.
      alpha: of each row.
    """
    alpha = of_rows.beside(alpha, u)
    return (1.0 - alpha) * u + alpha * v


def norm_corrected(u: Latent, v: Latent, alpha: PerRow) -> Latent:
    """The straight line, each point brought to the interpolated norm.

    w = (1 - alpha) u + alpha v;  w ((1 - alpha) |u| + alpha |v|) / |w|,

    with the Euclidean norm of all elements of a row. The latents of data lie in a
    thin shell, which the straight line between two of them leaves. A row whose w is
    zero has no direction and stays zero.

    Args:
      u: where alpha is 0.
      v: where alpha is 1.
      alpha: of each row.

    Reference: Walton et al. (2023), Distilling Normalizing Flows, eq. 16.
    """
    straight = linear(u, v, alpha)
    length = _norm(straight)
    wanted = (1.0 - alpha) * _norm(u) + alpha * _norm(v)
    # The inner where keeps 0 / 0 out of the gradient as well.
    there = length > 0
    scale = jnp.where(there, wanted / jnp.where(there, length, 1.0), 1.0)
    return of_rows.beside(scale, u) * straight


def four_point(corners: Sequence[Latent], phi: PerRow, phi_prime: PerRow) -> Latent:
    """Points on the manifold through four latents.

    z = cos(phi) (cos(phi') z1 + sin(phi') z2) + sin(phi) (cos(phi') z3 + sin(phi') z4)

    The squares of the four weights sum to one, so that independent standard normal
    corners give a standard normal point at any angles. Both angles from 0 to pi / 2
    span the patch whose corners are z1 to z4; a full turn closes the surface.

    Args:
      corners: z1, z2, z3, z4.
      phi: of each row, in radians.
      phi_prime: likewise.

    Raises:
      ValueError: not four corners.

    Reference: Dinh et al. (2017), Density estimation using Real NVP.
    """
    if len(corners) != 4:
        raise ValueError(f"{len(corners)} corners: expected four latents, z1 to z4")
    z1, z2, z3, z4 = corners
    c, s = (of_rows.beside(f(phi), z1) for f in (jnp.cos, jnp.sin))
    c_prime, s_prime = (of_rows.beside(f(phi_prime), z1) for f in (jnp.cos, jnp.sin))
    return c * (c_prime * z1 + s_prime * z2) + s * (c_prime * z3 + s_prime * z4)


def _norm(z: Latent) -> PerRow:
    """Euclidean norm of each row; zero, with a zero gradient, at zero."""
    # Dividing by the largest element keeps the squares of exploded latents finite.
    rows = z.reshape(z.shape[0], -1)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=1))
    there = largest > 0
    unit = jnp.where(there, largest, 1.0)
    squares = jnp.sum((rows / unit[:, None]) ** 2, axis=1)
    return jnp.where(there, unit * jnp.sqrt(jnp.where(there, squares, 1.0)), 0.0)
