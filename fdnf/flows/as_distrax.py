"""Flows as distrax bijectors and distributions.

distrax's forward goes from the base to the data, so it is `decode` here, and its
inverse is `encode`. That exchange of directions is made in this file and nowhere else.
Latents are flattened into one vector, whatever parts the flow factors out.

    distribution = as_distrax.as_distribution(flow, variables, event_shape=(63,))
    x, log_prob = distribution.sample_and_log_prob(seed=key, sample_shape=1000)
"""

import itertools
import math
from typing import Any

import distrax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from fdnf.flows.base import FlowModule
from fdnf.types import Variables

Latent = Float[Array, "*batch latent"]
Data = Float[Array, "*batch_and_event"]
LogDet = Float[Array, "*batch"]
Condition = Float[Array, "*context"]


_uses = itertools.count()


def _unlike(x: Array) -> Array:
    """The same values, in a program whose text is that of no other.

    distrax takes two bijectors for equal whose programs print alike, and weights that
    a program closes over are printed without their values. The name costs nothing.
    """
    return checkpoint_name(x, f"fdnf_flow_{next(_uses)}")


class FlowBijector(distrax.Bijector):
    """A flow with its variables, from flattened latents to data.

    Any number of batch axes, also none, as distrax has it.
    """

    def __init__(
        self,
        flow: FlowModule,
        variables: Variables,
        event_shape: tuple[int, ...],
        cond: Condition | None = None,
    ):
        super().__init__(event_ndims_in=1, event_ndims_out=len(event_shape))
        self._flow = flow
        self._variables = variables
        self._event = tuple(event_shape)
        self._cond = cond

    @property
    def latent_size(self) -> int:
        """Length of the flattened latent."""
        return sum(math.prod(part) for part in self._parts)

    @property
    def _parts(self) -> tuple[tuple[int, ...], ...]:
        return self._flow.latent_shapes(self._event)

    def _conds(self, rows: int) -> Array | None:
        if self._cond is None:
            return None
        return jnp.broadcast_to(self._cond, (rows, *self._cond.shape))

    def forward_and_log_det(self, x: Latent) -> tuple[Data, LogDet]:
        """Decodes latents; log |det dx/dz|."""
        batch = x.shape[:-1]
        rows = x.reshape(math.prod(batch), x.shape[-1])
        z, start = [], 0
        for shape in self._parts:
            stop = start + math.prod(shape)
            z.append(rows[:, start:stop].reshape(rows.shape[0], *shape))
            start = stop
        decoding: Any = self._flow.apply(
            self._variables, tuple(z), self._conds(rows.shape[0]), method="decode"
        )
        data = decoding.x.reshape(*batch, *self._event)
        return _unlike(data), decoding.log_det.reshape(batch)

    def inverse_and_log_det(self, y: Data) -> tuple[Latent, LogDet]:
        """Encodes data; log |det dz/dx|."""
        batch = y.shape[: y.ndim - len(self._event)]
        rows = y.reshape(math.prod(batch), *self._event)
        encoding: Any = self._flow.apply(
            self._variables, rows, self._conds(rows.shape[0]), method="encode"
        )
        flat = [part.reshape(rows.shape[0], -1) for part in encoding.z]
        latent = jnp.concatenate(flat, axis=1).reshape(*batch, self.latent_size)
        return _unlike(latent), encoding.log_det.reshape(batch)

    def same_as(self, other: distrax.Bijector) -> bool:
        """Whether both are the same object: equal parameters cannot be told early.

        The KL divergence of two flows is therefore refused, and 0 for one object;
        estimate it from samples, `mean(p.log_prob(x) - q.log_prob(x))`, x of p.
        """
        return self is other


def as_bijector(
    flow: FlowModule,
    variables: Variables,
    event_shape: tuple[int, ...],
    cond: Condition | None = None,
) -> FlowBijector:
    """The flow as a distrax bijector from flattened latents to data.

    Args:
      flow: any flow of this package.
      variables: its variables.
      event_shape: shape of one example of the data.
      cond: context of one example, used for every row, of a conditional flow.
    """
    return FlowBijector(flow, variables, event_shape, cond)


def as_distribution(
    flow: FlowModule,
    variables: Variables,
    event_shape: tuple[int, ...],
    cond: Condition | None = None,
) -> distrax.Transformed:
    """The flow as a distrax distribution over its data, log densities in nats.

    Args:
      flow: any flow of this package.
      variables: its variables.
      event_shape: shape of one example of the data.
      cond: context of one example, of a conditional flow: p(x | cond).
    """
    bijector = as_bijector(flow, variables, event_shape, cond)
    base = distrax.MultivariateNormalDiag(jnp.zeros(bijector.latent_size))
    return distrax.Transformed(base, bijector)
