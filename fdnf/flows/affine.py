"""The affine Gaussian flow: one matrix and one shift."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.flows.base import FlowModule, Latents
from fdnf.ops import linear
from fdnf.ops.entering import Made
from fdnf.types import Context, Events

STARTS = ("identity", "normal")


class Affine(FlowModule):
    """x = mu + R z with a full matrix R: every Gaussian N(mu, R R^T).

        variables = flow.init(key, x)  # x [batch, dim]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")

    `fdnf.fit(flow, x)` trains one.

        variables = flow.init(key, x)  # x [batch, dim], of real data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")

    `fdnf.fit(flow, x)` trains one.

    log |det dx/dz| = log |det R|, and z = R^-1 (x - mu) by an LU factorisation. For
    vectors, and without a condition. The one level is the latent.

    Args:
      start: "identity", R = I; "normal", R_ij ~ N(0, 1). mu starts at 0.

    Reference: Huang et al. (2019), section 3.2.
    """

    start: str = "identity"

    event_axes = ("dim",)
    condition_axes = ()

    def _made_with(self, params: Any) -> Made | None:
        return Made(params["mu"].shape, None)

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
        mu, R = self._parameters(x.shape[1])
        z = linear.solve(R, (x - mu).T).T
        log_det = jnp.broadcast_to(-linear.log_abs_det(R), x.shape[:1])
        return (z,), log_det, (z,)

    def _decode(self, z: Latents, cond: Context | None):
        (flat,) = z
        mu, R = self._parameters(flat.shape[1])
        x = mu + jnp.matmul(flat, R.T, precision="highest")
        log_det = jnp.broadcast_to(linear.log_abs_det(R), flat.shape[:1])
        return x, log_det, (flat,)
