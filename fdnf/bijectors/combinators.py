"""Bijectors made of bijectors: Chain, Repeat, Invert.

`trace` and `trace_inverse` also give the activation after each part (in forward
order, in both directions), which is what flows report as levels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdnf.bijectors.base import Bijector
from fdnf.types import Context, Events, LogDet

Trace = tuple[Events, LogDet, tuple[Events, ...]]


def _zeros(x: Events) -> LogDet:
    return jnp.zeros(x.shape[:1], x.dtype)


class Chain(Bijector):
    """Unlike parts, the first one applied first in `forward`."""

    parts: tuple[Bijector, ...]

    def trace(self, x: Events, cond: Context | None = None) -> Trace:
        """`forward`, with the activation after each part."""
        log_det, after = _zeros(x), []
        for part in self.parts:
            x, change = part.forward(x, cond)
            log_det += change
            after.append(x)
        return x, log_det, tuple(after)

    def trace_inverse(self, y: Events, cond: Context | None = None) -> Trace:
        """`inverse`, with the activations that `trace` would report."""
        log_det, after = _zeros(y), []
        for part in reversed(self.parts):
            after.append(y)
            y, change = part.inverse(y, cond)
            log_det += change
        return y, log_det, tuple(reversed(after))

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Applies the parts in order."""
        return self.trace(x, cond)[:2]

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Applies the parts' inverses in reverse order."""
        return self.trace_inverse(y, cond)[:2]


class Repeat(Bijector):
    """A stack of equal steps, each with parameters of its own.

    Parameters (and constants) gain a leading axis of size `length`, and the program
    has one copy of the step, however deep the stack.

    Args:
      step: the bijector to repeat.
      length: how many.
      unroll: steps per loop iteration; None unrolls the whole stack on CPU, where a
        loop is slow, and nothing on accelerators. Changes the program only:
        parameters and results stay.
    """

    step: Bijector
    length: int
    unroll: int | None = None

    def _scan(self, body, x: Events, cond: Context | None, reverse: bool) -> Trace:
        unroll = self.unroll
        if unroll is None:
            unroll = self.length if jax.default_backend() == "cpu" else 1
        scan = nn.scan(
            body,
            variable_axes={"params": 0, "constants": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,  # pyright: ignore[reportArgumentType]
            length=self.length,
            reverse=reverse,
            unroll=unroll,
        )
        (x, log_det), stacked = scan(self.step, (x, _zeros(x)), cond)
        return x, log_det, tuple(stacked[i] for i in range(self.length))

    def trace(self, x: Events, cond: Context | None = None) -> Trace:
        """`forward`, with the activation after each step."""

        def body(step, carry, cond):
            x, log_det = carry
            y, change = step.forward(x, cond)
            return (y, log_det + change), y

        return self._scan(body, x, cond, reverse=False)

    def trace_inverse(self, y: Events, cond: Context | None = None) -> Trace:
        """`inverse`, with the activations that `trace` would report."""

        def body(step, carry, cond):
            y, log_det = carry
            x, change = step.inverse(y, cond)
            return (x, log_det + change), y

        return self._scan(body, y, cond, reverse=True)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Applies the steps in order."""
        return self.trace(x, cond)[:2]

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Applies the steps' inverses in reverse order."""
        return self.trace_inverse(y, cond)[:2]


class Invert(Bijector):
    """The same map with its directions swapped."""

    bijector: Bijector

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """The wrapped bijector's `inverse`."""
        return self.bijector.inverse(x, cond)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """The wrapped bijector's `forward`."""
        return self.bijector.forward(y, cond)
