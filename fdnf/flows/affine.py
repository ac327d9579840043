"""The affine Gaussian flow: one matrix and one shift."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.flows.base import FlowModule, Latents
from fdnf.ops import linear
from fdnf.types import Context, Events

STARTS = ("identity", "normal")


class Affine(FlowModule):
    """x = mu + R z with a full matrix R: every Gaussian N(mu, R R^T).

    log |det dx/dz| = log |det R|, and z = R^-1 (x - mu) by an LU factorisation. For
    vectors; context is ignored. The one level is the latent.

    Args:
      start: "identity", R = I; "normal", R_ij ~ N(0, 1). mu starts at 0.

    Reference: Huang et al. (2019), section 3.2.
    """

    start: str = "identity"

    @nn.compact
    def _parameters(
        self, dim: int
    ) -> tuple[Float[Array, " dim"], Float[Array, "dim dim"]]:
        if self.start not in STARTS:
            raise ValueError(f"start={self.start!r}: expected one of {STARTS}")

        def first(key):
            if self.start == "identity":
                return jnp.eye(dim, dtype=jnp.float32)
            return jax.random.normal(key, (dim, dim), jnp.float32)

        mu = self.param("mu", nn.initializers.zeros, (dim,), jnp.float32)
        return mu, self.param("R", first)

    def _encode(self, x: Events, cond: Context | None):
        mu, R = self._parameters(_dim(x))
        z = linear.solve(R, (x - mu).T).T
        log_det = jnp.broadcast_to(-linear.log_abs_det(R), x.shape[:1])
        return (z,), log_det, (z,)

    def _decode(self, z: Latents, cond: Context | None):
        (flat,) = z
        mu, R = self._parameters(_dim(flat))
        x = mu + jnp.matmul(flat, R.T, precision="highest")
        log_det = jnp.broadcast_to(linear.log_abs_det(R), flat.shape[:1])
        return x, log_det, (flat,)


def _dim(x: Events) -> int:
    if x.ndim != 2:
        raise ValueError(
            f"an affine flow takes vectors [batch, dim], not {x.shape}: flatten events"
        )
    return x.shape[1]
