"""Bijectors made of bijectors (Chain, Repeat, Invert) and what only reorders.

`trace` and `trace_inverse` also give the activation after each part (in forward
order, in both directions), which is what flows report as levels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector, Inspection, Moves, Report, joined
from fdnf.ops import squeeze, trees
from fdnf.types import Context, Events, LogDet, Mapped

# Flax's name of the keys from which estimates of log-determinants draw.
PROBES = "probes"

# Activations may be of several shapes.
Trace = tuple[Mapped, LogDet, tuple[Array, ...]]
Reported = tuple[Mapped, LogDet, tuple[Array, ...], Report]
Parameters = tuple[Mapped, tuple[Array, ...]]


class Each(NamedTuple):
    """What the steps of a stack did, each with events of its own.

    Attributes:
      out: `[steps, batch, ...]`.
      log_det: `[steps, batch]`, of the direction that was asked for.
      parameters: of each transformer of a step, `[steps, batch, outputs, *elements]`.
      log_scale: `[steps, batch, ...]`, log of how far x moves where y = step(x) moves
        by one, see `Moves`; None of steps that cannot tell.
    """

    out: Array
    log_det: Array
    parameters: tuple[Array, ...]
    log_scale: Array | None


def _told(x: Array, y: Array, seen: Inspection) -> tuple[Any, ...]:
    """The last fields of `Each` for one step with y = step(x)."""
    scale = None if seen.moves is None else seen.moves.inverse(jnp.zeros_like(y))
    return seen.log_det, seen.parameters, scale


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

    def trace_inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> Reported:
        """`trace_inverse`, with the reports of all layers in the order of the data.

        Each part starts from what those before it make of `start`.
        """
        starts: list[Array | None] = [start]
        for part in self.parts[:-1]:
            last = starts[-1]
            starts.append(None if last is None else part.forward(last, cond)[0])
        log_det, after, reports = _zeros(y), [], []
        for part, near in zip(reversed(self.parts), reversed(starts), strict=True):
            after.append(y)
            y, change, report = part.inverse_with_report(y, cond, near)
            log_det += change
            reports.append(report)
        return y, log_det, tuple(reversed(after)), joined(reports[::-1])

    def inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> tuple[Mapped, LogDet, Report]:
        """`inverse`, with the reports, see `trace_inverse_with_report`."""
        x, log_det, _, report = self.trace_inverse_with_report(y, cond, start)
        return x, log_det, report

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Applies the parts in order."""
        return self.trace(x, cond)[:2]

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Applies the parts' inverses in reverse order."""
        return self.trace_inverse(y, cond)[:2]

    def parameters(self, x: Events, cond: Context | None = None) -> Parameters:
        """Of all parts, in order."""
        found = []
        for part in self.parts:
            x, own = part.parameters(x, cond)
            found += own
        return x, tuple(found)

    def inspect_forward(self, x: Events, cond: Context | None = None) -> Inspection:
        """That of all parts, in order."""
        seen = []
        for part in self.parts:
            seen.append(part.inspect_forward(x, cond))
            x = seen[-1].out
        return self._joined(x, seen)

    def inspect_inverse(self, y: Events, cond: Context | None = None) -> Inspection:
        """That of all parts, parameters in the order of `forward`."""
        seen = []
        for part in reversed(self.parts):
            seen.insert(0, part.inspect_inverse(y, cond))
            y = seen[0].out
        return self._joined(y, seen)

    def _joined(self, out: Events, seen: list[Inspection]) -> Inspection:
        log_det = sum((each.log_det for each in seen), _zeros(out))
        parameters = tuple(raw for each in seen for raw in each.parameters)
        moves = [each.moves for each in seen if each.moves is not None]
        if len(moves) < len(seen):
            return Inspection(out, log_det, parameters)

        def forward(size: Array) -> Array:
            for each in moves:
                size = each.forward(size)
            return size

        def inverse(size: Array) -> Array:
            for each in reversed(moves):
                size = each.inverse(size)
            return size

        return Inspection(out, log_det, parameters, Moves(forward, inverse))


class Repeat(Bijector):
    """A stack of equal steps, each with parameters of its own.

    Parameters (and constants) gain a leading axis of size `length`, and the program
    has one copy of the step, however deep the stack.

    Args:
      step: the bijector to repeat.
      length: how many.
      unroll: steps per loop iteration; None unrolls the whole stack on CPU, where a
        loop of small products is slow, and nothing on accelerators.
      remat: keep only what goes from step to step for the gradient, and compute the
        rest of each step again: memory of one step instead of all.
      apart: none, or the steps as `length` bijectors, each with parameters of its own
        name, that are not stacked. For use, not for training: slices of stacked ones
        are copied in each call, which is half of what a single sample takes on CPU.

    `unroll` and `remat` change the program only: parameters and results stay.

    Raises:
      ValueError: for another number of steps apart.
    """

    step: Bijector
    length: int
    unroll: int | None = None
    remat: bool = False
    apart: tuple[Bijector, ...] = ()

    def __post_init__(self):
        if len(self.apart) not in (0, self.length):
            said = f"{len(self.apart)} steps apart of {self.length}"
            raise ValueError(f"Repeat: {said}, expected all or none")
        super().__post_init__()

    def _scan(
        self,
        body,
        x: Events,
        cond: Context | None,
        reverse: bool,
        each: tuple[Array, ...] = (),
    ) -> tuple[Events, LogDet, Any]:
        if self.apart:
            return self._loop(body, x, cond, reverse, each)
        unroll = self.unroll
        if unroll is None:
            unroll = self.length if jax.default_backend() == "cpu" else 1
        if self.remat:
            # Inside a loop nothing can be merged with the first computation; where
            # it is unrolled, XLA has to be kept from it.
            body = nn.remat(body, prevent_cse=unroll > 1)
        scan = nn.scan(
            body,
            variable_axes={"params": 0, "constants": 0},
            split_rngs={"params": True, PROBES: True},
            in_axes=(nn.broadcast, *(0 for _ in each)),  # pyright: ignore[reportArgumentType]
            length=self.length,
            reverse=reverse,
            unroll=unroll,
        )
        (x, log_det), stacked = scan(self.step, (x, _zeros(x)), cond, *each)
        return x, log_det, stacked

    def _loop(
        self, body, x: Events, cond: Context | None, reverse: bool, each: Any
    ) -> tuple[Events, LogDet, Any]:
        """What `_scan` computes, of steps that are apart."""
        carry, found = (x, _zeros(x)), {}
        for i in sorted(range(self.length), reverse=reverse):
            given = (of_steps[i] for of_steps in each)
            carry, found[i] = body(self.apart[i], carry, cond, *given)
        x, log_det = carry
        return x, log_det, trees.stacked([found[i] for i in range(self.length)])

    def _forward(self, x: Events, cond: Context | None, keep: bool):
        def body(step, carry, cond):
            x, log_det = carry
            y, change = step.forward(x, cond)
            return (y, log_det + change), y if keep else None

        return self._scan(body, x, cond, reverse=False)

    def _inverse(self, y: Events, cond: Context | None, keep: bool):
        def body(step, carry, cond):
            y, log_det = carry
            x, change = step.inverse(y, cond)
            return (x, log_det + change), y if keep else None

        return self._scan(body, y, cond, reverse=True)

    def trace(self, x: Events, cond: Context | None = None) -> Trace:
        """`forward`, with the activation after each step."""
        y, log_det, stacked = self._forward(x, cond, True)
        return y, log_det, tuple(jnp.unstack(stacked))

    def trace_inverse(self, y: Events, cond: Context | None = None) -> Trace:
        """`inverse`, with the activations that `trace` would report."""
        x, log_det, stacked = self._inverse(y, cond, True)
        return x, log_det, tuple(jnp.unstack(stacked))

    def trace_inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> Reported:
        """`trace_inverse`, with the reports of all layers in the order of the data.

        Each step starts from what those before it make of `start`.
        """

        def body(step, carry, cond, *near):
            y, log_det = carry
            x, change, report = step.inverse_with_report(y, cond, *near)
            return (x, log_det + change), (y, report)

        each = ()
        if start is not None:
            after = self._forward(start, cond, True)[2]
            each = (jnp.concatenate([start[None], after[:-1]]),)
        x, log_det, (after, report) = self._scan(body, y, cond, True, each)
        report = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), report)
        return x, log_det, tuple(after[i] for i in range(self.length)), report

    def inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> tuple[Mapped, LogDet, Report]:
        """`inverse`, with the reports, see `trace_inverse_with_report`."""
        x, log_det, _, report = self.trace_inverse_with_report(y, cond, start)
        return x, log_det, report

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Applies the steps in order."""
        return self._forward(x, cond, False)[:2]

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Applies the steps' inverses in reverse order."""
        return self._inverse(y, cond, False)[:2]

    def parameters(self, x: Events, cond: Context | None = None) -> Parameters:
        """Of all steps, in order."""

        def body(step, carry, cond):
            x, log_det = carry
            y, own = step.parameters(x, cond)
            return (y, log_det), own

        y, _, stacked = self._scan(body, x, cond, reverse=False)
        return y, tuple(own[i] for i in range(self.length) for own in stacked)

    def inspect_trace(
        self, x: Events, cond: Context | None = None
    ) -> tuple[Mapped, LogDet, Each]:
        """`forward`, with what each step did on the way."""

        def body(step, carry, cond):
            x, log_det = carry
            seen = step.inspect_forward(x, cond)
            told = _told(x, seen.out, seen)
            return (seen.out, log_det + seen.log_det), (seen.out, *told)

        y, log_det, stacked = self._scan(body, x, cond, reverse=False)
        return y, log_det, Each(*stacked)

    def each_forward(
        self, x: Float[Array, "steps batch *event"], cond: Context | None = None
    ) -> Each:
        """Each step's `forward` of events of its own; nothing goes from step to step.

        Args:
          x: what each step is given.
          cond: the condition of the rows, which all steps are given.
        """

        def body(step, x, cond):
            seen = step.inspect_forward(x, cond)
            return seen.out, *_told(x, seen.out, seen)

        return self._each(body, x, cond)

    def each_inverse(
        self, y: Float[Array, "steps batch *event"], cond: Context | None = None
    ) -> Each:
        """Each step's `inverse`, as `each_forward`."""

        def body(step, y, cond):
            seen = step.inspect_inverse(y, cond)
            return seen.out, *_told(seen.out, y, seen)

        return self._each(body, y, cond)

    def _each(self, body: Callable, given: Array, cond: Context | None) -> Each:
        """All steps at once, over their stacked parameters."""
        if self.apart:
            steps = zip(self.apart, given, strict=True)
            return Each(*trees.stacked([body(step, x, cond) for step, x in steps]))
        over = nn.vmap(
            nn.remat(body) if self.remat else body,
            variable_axes={"params": 0, "constants": 0},
            split_rngs={"params": True, PROBES: True},
            in_axes=(0, None),  # pyright: ignore[reportArgumentType]
            axis_size=self.length,
        )
        return Each(*over(self.step, given, cond))


class Invert(Bijector):
    """The same map with its directions swapped."""

    bijector: Bijector

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """The wrapped bijector's `inverse`."""
        return self.bijector.inverse(x, cond)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """The wrapped bijector's `forward`."""
        return self.bijector.forward(y, cond)

    def parameters(self, x: Events, cond: Context | None = None) -> Parameters:
        """The wrapped bijector's, of what it maps to `x`."""
        y, _ = self.forward(x, cond)
        return y, self.bijector.parameters(y, cond)[1]

    def inspect_forward(self, x: Events, cond: Context | None = None) -> Inspection:
        """The wrapped bijector's, of its `inverse`."""
        return _swapped(self.bijector.inspect_inverse(x, cond))

    def inspect_inverse(self, y: Events, cond: Context | None = None) -> Inspection:
        """The wrapped bijector's, of its `forward`."""
        return _swapped(self.bijector.inspect_forward(y, cond))


def _swapped(seen: Inspection) -> Inspection:
    moves = (
        None if seen.moves is None else Moves(seen.moves.inverse, seen.moves.forward)
    )
    return seen._replace(moves=moves)


class Reverse(Bijector):
    """Reverses one axis of the event, by default the channels."""

    axis: int = -1

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Reverses."""
        return jnp.flip(x, self.axis), jnp.zeros(x.shape[:1], x.dtype)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Reverses again."""
        return self.forward(y, cond)

    def _moves(self, like: Events) -> Moves:
        def flip(size: Array) -> Array:
            return jnp.flip(size, self.axis)

        return Moves(flip, flip)


class Shuffle(Bijector):
    """A permutation of the channels drawn once from `seed`; not a variable."""

    seed: int = 0

    def _order(self, channels: int) -> np.ndarray:
        return np.random.default_rng(self.seed).permutation(channels)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Takes the channels in the drawn order."""
        return x[..., self._order(x.shape[-1])], jnp.zeros(x.shape[:1], x.dtype)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Puts the channels back."""
        order = np.argsort(self._order(y.shape[-1]))
        return y[..., order], jnp.zeros(y.shape[:1], y.dtype)

    def _moves(self, like: Events) -> Moves:
        order = self._order(like.shape[-1])
        return Moves(
            lambda size: size[..., order], lambda size: size[..., np.argsort(order)]
        )


class Squeeze(Bijector):
    """Trades a factor 2 of height and of width for 4 times the channels."""

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Images to half their height and width."""
        return squeeze.squeeze(x), jnp.zeros(x.shape[:1], x.dtype)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Images to twice their height and width."""
        return squeeze.unsqueeze(y), jnp.zeros(y.shape[:1], y.dtype)
