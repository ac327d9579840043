"""Flows as distrax bijectors and distributions, and those of distrax as teachers.

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
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from fdnf.flows.base import FlowModule
from fdnf.types import Decoding, Encoding, ExternalFlow, Variables

Latent = Float[Array, "*batch latent"]
Data = Float[Array, "*batch_and_event"]
# Batch axes of what comes in and of the condition, broadcast.
LogDet = Float[Array, "*whole"]
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

    Any number of batch axes, also none, as distrax has it; those of a condition
    broadcast against them.
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
        self._cond = None if cond is None else jnp.asarray(cond)
        # Refused here, and not in the first sample.
        rank: Any = flow.apply(variables, self._cond, method="condition_rank")
        self._rank = int(rank)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of the condition."""
        if self._cond is None:
            return ()
        return self._cond.shape[: self._cond.ndim - self._rank]

    @property
    def latent_size(self) -> int:
        """Length of the flattened latent."""
        return sum(math.prod(part) for part in self._parts)

    @property
    def _parts(self) -> tuple[tuple[int, ...], ...]:
        return self._flow.latent_shapes(self._event)

    def _batch(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        """Batch axes of what comes in, broadcast with those of the condition.

        Raises:
          ValueError: if they do not fit.
        """
        try:
            return jnp.broadcast_shapes(batch, self.batch_shape)
        except ValueError as error:
            raise ValueError(
                f"a batch of {batch} with conditions of batch {self.batch_shape}: "
                "expected axes that broadcast"
            ) from error

    def _rows(self, x: Array, batch: tuple[int, ...], event: tuple[int, ...]) -> Array:
        """One axis for the batch, which may be wider than that of `x`."""
        return jnp.broadcast_to(x, (*batch, *event)).reshape(math.prod(batch), *event)

    def _conds(self, batch: tuple[int, ...]) -> Array | None:
        if self._cond is None:
            return None
        event = self._cond.shape[self._cond.ndim - self._rank :]
        if not self.batch_shape:
            return self._cond[None]
        return self._rows(self._cond, batch, event)

    def forward_and_log_det(self, x: Latent) -> tuple[Data, LogDet]:
        """Decodes latents; log |det dx/dz|."""
        batch = self._batch(x.shape[:-1])
        rows = self._rows(x, batch, x.shape[-1:])
        z, start = [], 0
        for shape in self._parts:
            stop = start + math.prod(shape)
            z.append(rows[:, start:stop].reshape(rows.shape[0], *shape))
            start = stop
        decoding: Any = self._flow.apply(
            self._variables, tuple(z), self._conds(batch), method="decode"
        )
        data = decoding.x.reshape(*batch, *self._event)
        return _unlike(data), decoding.log_det.reshape(batch)

    def inverse_and_log_det(self, y: Data) -> tuple[Latent, LogDet]:
        """Encodes data; log |det dz/dx|."""
        batch = self._batch(y.shape[: y.ndim - len(self._event)])
        rows = self._rows(y, batch, self._event)
        encoding: Any = self._flow.apply(
            self._variables, rows, self._conds(batch), method="encode"
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
      cond: context of a conditional flow, of one example or a batch of them,
        `[*batch, *context]`: its batch axes broadcast against those of the data.

    Raises:
      ValueError: for a condition other than the flow was made with.
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
      cond: context of a conditional flow, as of `as_bijector`: p(x | cond), one
        distribution for each condition, so that `batch_shape` is that of the batch.

    Raises:
      ValueError: for a condition other than the flow was made with.
    """
    bijector = as_bijector(flow, variables, event_shape, cond)
    latent = (*bijector.batch_shape, bijector.latent_size)
    base = distrax.MultivariateNormalDiag(jnp.zeros(latent))
    return distrax.Transformed(base, bijector)


def from_distrax(given: Any) -> tuple[ExternalFlow, Variables]:
    """A distribution or bijector of distrax as a teacher: `(flow, variables)`.

        flow, variables = from_distrax(distrax.Transformed(base, bijector))
        student = fdnf.distil((flow, variables), fdnf.flows.MAF(), x, method="lkd")

    Latents are those of the innermost base, standardised where that is a normal
    distribution; each bijector of a chain ends a level. A distribution that is no
    transformed one has a density, which is all that `method="kl"` asks for.

    Args:
      given: a distrax distribution, of which `log_prob` takes `[batch, *event]`, or a
        distrax bijector from latents to data, whose base is standard normal.

    Returns:
      The flow and its variables: the arrays of what was given. What functions inside
      it close over stays as it is.

    Raises:
      TypeError: for what is neither.
    """
    if not isinstance(given, distrax.Distribution | distrax.Bijector):
        raise TypeError(
            f"from_distrax({type(given).__name__}): expected a distrax distribution or "
            "bijector"
        )
    leaves, tree = jax.tree.flatten(given)
    free = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]
    variables = [jnp.asarray(x) for x, own in zip(leaves, free, strict=True) if own]

    def whole(variables: Variables) -> Any:
        own = iter(variables)
        return jax.tree.unflatten(
            tree,
            [
                next(own) if is_own else x
                for x, is_own in zip(leaves, free, strict=True)
            ],
        )

    def encode(variables: Variables, x: Array, cond: Any = None) -> Encoding:
        _refuse(cond)
        base, bijectors = _parts_of(whole(variables))
        log_det, levels = jnp.zeros(x.shape[:1], x.dtype), []
        for bijector in bijectors:
            x, change = bijector.inverse_and_log_det(x)
            log_det += change
            levels.append(x)
        if base is None:
            axes = tuple(range(1, x.ndim))
            normal = -0.5 * (x**2 + math.log(2 * math.pi))
            return Encoding((x,), log_det, tuple(levels), normal.sum(axes))
        prior: Any = base.log_prob(x)
        if not levels:
            return Encoding((), log_det, (), prior)
        scale = _scale(base)
        if scale is not None:
            # The latents of a normal base in its own units; the density is the same.
            x = (x - scale[0]) / scale[1]
            change = _total(jnp.log(scale[1]), x)
            log_det, prior = log_det - change, prior + change
        return Encoding((x,), log_det, tuple(levels), prior)

    def decode(variables: Variables, z: Any, cond: Any = None) -> Decoding:
        _refuse(cond)
        base, bijectors = _parts_of(whole(variables))
        (x,) = z
        log_det = jnp.zeros(x.shape[:1], x.dtype)
        scale = (0.0, jnp.ones(())) if base is None else _scale(base)
        if scale is None:
            raise ValueError(
                f"the base of this teacher is {type(base).__name__}, not normal: its "
                "latents are none that a student shares; take method='kl' or 'lkd'"
            )
        log_det += _total(jnp.log(scale[1]), x)
        x = scale[0] + scale[1] * x
        for bijector in reversed(bijectors):
            x, change = bijector.forward_and_log_det(x)
            log_det += change
        return Decoding(x, log_det, ())

    return ExternalFlow(encode=encode, decode=decode), variables


def _parts_of(given: Any) -> tuple[Any, list[Any]]:
    """The base, None for a bijector alone, and bijectors from the data on."""
    bijectors = []
    while isinstance(given, distrax.Transformed):
        bijectors += _links(given.bijector)
        given = given.distribution
    if isinstance(given, distrax.Bijector):
        return None, _links(given)
    return given, bijectors


def _links(bijector: Any) -> list[Any]:
    """Of a chain its bijectors, the one next to the data first."""
    if not isinstance(bijector, distrax.Chain):
        return [bijector]
    return [link for inner in bijector.bijectors for link in _links(inner)]


def _scale(base: Any) -> tuple[Array, Array] | None:
    """Mean and standard deviation of a normal base."""
    inner = base.distribution if isinstance(base, distrax.Independent) else base
    if not isinstance(inner, distrax.Normal):
        return None
    return jnp.asarray(inner.loc), jnp.asarray(inner.scale)


def _total(log_scale: Array, x: Array) -> Array:
    """`[batch]`, the log-determinant of scales that hold for each row of x."""
    return jnp.broadcast_to(log_scale, x.shape).reshape(x.shape[0], -1).sum(1)


def _refuse(cond: Any) -> None:
    if cond is not None:
        raise ValueError(
            "a teacher of distrax takes no condition: give one distribution a "
            "condition, or an ExternalFlow of your own"
        )
