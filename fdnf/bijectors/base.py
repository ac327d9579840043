"""What a bijector is, and what one tells of itself where it is asked."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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


class Report(NamedTuple):
    """How inverses by iteration went, layer by layer in the order of the data.

    Attributes:
      residual: max |F(x) - y| of each layer and row, divided by 1 + |y| where F is no
        autoregressive map; inf where x is not finite.
      iterations: steps of the fixed-point iteration of each layer and row; 0 of a layer
        whose inverse was computed directly.
    """

    residual: Float[Array, "layers batch"]
    iterations: Int[Array, "layers batch"]


def joined(reports: Sequence[Report]) -> Report:
    """The report of all layers, of those of some, in the order of the data."""
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *reports)


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

    def inverse_with_report(
        self, y: Mapped, cond: Context | None = None, start: Events | None = None
    ) -> tuple[Events, LogDet, Report]:
        """`inverse`, with what it took, of a layer that has no closed form.

        Args:
          y: what is mapped back.
          cond: context.
          start: an approximation of the result, from which a layer iterates that can:
            an autoregressive one then takes as many passes of its network as the
            approximation is worth, in place of its sequential inverse. The result is
            the exact inverse to the layer's tolerance, however bad the start.

        Returns:
          x, log |det dx/dy|, and the report of the layers within that are not inverted
          by a formula, which may be none.
        """
        del start
        x, log_det = self.inverse(y, cond)
        none = jnp.zeros((0, y.shape[0]), y.dtype)
        return x, log_det, Report(none, none.astype(jnp.int32))

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
