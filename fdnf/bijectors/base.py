"""What a bijector is."""

import flax.linen as nn
from jaxtyping import Array

from fdnf.types import Context, Events, LogDet, Mapped


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

    def __call__(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Runs `forward`; what `init` calls."""
        return self.forward(x, cond)
