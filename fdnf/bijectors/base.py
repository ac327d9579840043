"""What a bijector is, and what one tells of itself where it is asked."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.ops import linear
from fdnf.types import Context, Events, LogDet, Mapped

Spread = Callable[[Array], Array]


class Moves(NamedTuple):
    """How far each element of one side moves, given how far those of the other do.

    Logs of sizes in the shape of the events: independent moves of these sizes on one
    side make moves of that root mean square on the other. What elements do to each
    other through a network is left out; what a matrix does is not.

    Attributes:
      forward: from those of x to those of y = f(x).
      inverse: from those of y to those of x.
    """

    forward: Spread
    inverse: Spread

    @classmethod
    def of_elements(cls, log_slope: Array) -> "Moves":
        """Of a map of each element by itself, with its log dy/dx."""
        return cls(lambda size: size + log_slope, lambda size: size - log_slope)

    @classmethod
    def of_matrix(cls, weight: Array, inverse: Callable[[], Array]) -> "Moves":
        """Of y = W x along the last axis, with W^-1 for where it is asked for."""

        def by(matrix: Array, size: Array) -> Array:
            top = jnp.max(size, axis=-1, keepdims=True)
            squares = linear.multiply(jnp.exp(2 * (size - top)), matrix**2)
            return top + 0.5 * jnp.log(squares)

        return cls(lambda size: by(weight, size), lambda size: by(inverse(), size))


class Inspection(NamedTuple):
    """What a bijector did where it was asked, in the direction it was asked in.

    Attributes:
      out: what it made of its argument.
      log_det: of that direction.
      parameters: raw numbers of its transformers, see `Bijector.parameters`.
      moves: sizes on its two sides, of `forward` whatever the direction; None of what
        has no slope for each element.
    """

    out: Mapped
    log_det: LogDet
    parameters: tuple[Array, ...] = ()
    moves: Moves | None = None


class Bijector(nn.Module):
    """An invertible map of events with the log-determinant of each direction.

    `forward` is the cheap direction; `Invert` swaps the two. Rows of a batch never
    touch each other. `log_det` has shape `[batch]`, in nats, summed over the event,
    and belongs to the direction that was asked for: the two cancel.

    Parameters are made in one compact helper that both directions call, so both read
    the same ones. `cond` is context of the same batch size; bijectors whose class has
    no use for it ignore it.
    """

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Maps `x` to `y` and gives log |det dy/dx|."""
        raise NotImplementedError

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Maps `y` back to `x` and gives log |det dx/dy|."""
        raise NotImplementedError

    def parameters(
        self, x: Events, cond: Context | None = None
    ) -> tuple[Mapped, tuple[Array, ...]]:
        """`forward` of `x`, and the raw numbers of each transformer on the way.

        Those of one are [batch, outputs, *elements], in the order of its own elements.
        What has none gives an empty tuple.
        """
        return self.forward(x, cond)[0], ()

    def inspect_forward(self, x: Events, cond: Context | None = None) -> Inspection:
        """`forward` of `x`, with what it was done by."""
        return Inspection(*self.forward(x, cond), moves=self._moves(x))

    def inspect_inverse(self, y: Events, cond: Context | None = None) -> Inspection:
        """`inverse` of `y`, with what it was done by."""
        return Inspection(*self.inverse(y, cond), moves=self._moves(y))

    def _moves(self, like: Events) -> Moves | None:
        """Those that depend on no event, for one of the shape of `like`."""
        del like

    def __call__(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Runs `forward`; what `init` calls."""
        return self.forward(x, cond)
