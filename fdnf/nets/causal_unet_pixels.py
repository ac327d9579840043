"""The horizontal stream of a causal U-Net, pixel by pixel along one row.

What comes from rows above is known before the row starts (`Known`); what comes from
the pixel before is carried along (`Left`). See `causal_unet_sampling`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from fdnf.nets import causal_unet
from fdnf.nets.causal_unet import Blocks, Stream, Weights, concat_elu, dot, gate

# Rows of features are [width, batch, channels]: a pixel is contiguous in memory. Those
# of stacked blocks have a first axis more; a pixel's are lists.
Inputs = tuple[Array, Array]
"""Of the inner and of the outer convolutions of stacked blocks."""
Pairs = tuple[tuple[Array, Array], ...]
"""The same of one pixel, one pair a block."""
Choose = Callable[[Array, Array], Array]
"""(outputs `[batch, outputs]`, noise `[batch, channels]`) -> pixel, the same shape."""


class Memory(NamedTuple):
    """What a stream remembers of the row above, by stage.

    Attributes:
      inputs: of the blocks' convolutions, on the way down and on the way up.
      last: what `shrink` reads, of all stages but the coarsest.
      result: of the stages below, of all but the coarsest.
    """

    inputs: tuple[tuple[Inputs, Inputs], ...]
    last: tuple[Array, ...]
    result: tuple[Array, ...]


class Known(NamedTuple):
    """What a row of the horizontal stream takes from elsewhere than its own row.

    Attributes:
      first: of the first convolution.
      convolved: by stage, for the blocks' convolutions, as `Memory.inputs`.
      shrunk: by stage, of its `shrink`.
      grown: what the stage `depth` gets from the one below, if there is one.
    """

    first: Array
    convolved: tuple[tuple[Inputs, Inputs], ...]
    shrunk: tuple[Array, ...]
    grown: Array | None


class Left(NamedTuple):
    """What a pixel of the horizontal stream takes from the pixel before it, by stage.

    Attributes:
      x: the pixel, with its one.
      inputs: of the blocks' convolutions, on the way down and on the way up.
      last: what `shrink` reads.
      second: the half of `grow`'s result that is the next pixel's.
    """

    x: Array
    inputs: tuple[tuple[Pairs, Pairs], ...]
    last: tuple[Array, ...]
    second: tuple[Array, ...]


class Pixel:
    """A pixel of the horizontal stream: a Site.

    Args:
      stream: the horizontal stream.
      depth: stages below the finest that have this row.
      column: number within its period.
      known: of the row, for the columns of the period.
      left: of the pixel before.
    """

    def __init__(
        self, stream: Stream, depth: int, column: int, known: Known, left: Left
    ):
        self.stream, self.depth, self.column = stream, depth, column
        self.known = known
        self.left = left
        self.inputs = list(left.inputs)
        self.second = list(left.second)
        self.entered: dict[int, Array] = {}
        self.result: dict[int, Array] = {}
        self._down: dict[int, Pairs] = {}

    def _blocks(
        self, s: int, way: int, blocks: Blocks, h: Array, seen: Array | None
    ) -> tuple[Array, list[Array], Pairs]:
        """Results, what each block was given, and inputs of the convolutions."""
        given, inputs = [], []
        for k in range(len(blocks.inner.bias)):
            left = self.left.inputs[s][way][k]
            known = [row[self.column >> s, k] for row in self.known.convolved[s][way]]
            given.append(h)
            first = concat_elu(h)
            inner = known[0] + _two(left[0], first, blocks.inner.kernel[k])
            if seen is not None:
                assert blocks.skip is not None
                inner += dot(concat_elu(seen[-1 - k]), blocks.skip[k])
            second = concat_elu(inner)
            outer = known[1] + _two(left[1], second, blocks.outer.kernel[k])
            h = gate(h, outer)
            inputs.append((first, second))
        return h, given, tuple(inputs)

    def down(self, s: int, blocks: Blocks, h: Array) -> tuple[Array, Array]:
        """Blocks of stage `s`."""
        h, given, self._down[s] = self._blocks(s, 0, blocks, h, None)
        return h, jnp.stack(given)

    def up(self, s: int, blocks: Blocks, h: Array, seen: Array) -> Array:
        """Blocks of stage `s` with the shortcuts `seen`."""
        h, _, inputs = self._blocks(s, 1, blocks, h, seen)
        self.inputs[s] = (self._down[s], inputs)
        return h

    def below(self, s: int, h: Array) -> Array:
        """The coarser stages where they have a pixel here, else what they said."""
        column = self.column >> s
        self.entered[s] = h
        if s == self.depth:
            assert self.known.grown is not None
            return self.known.grown[column]
        if column % 2:
            return self.second[s]
        shrink, grow = causal_unet.halving_of(self.stream, s)
        coarse = self.known.shrunk[s][column // 2]
        coarse += _two(self.left.last[s], h, shrink.kernel)
        result = causal_unet.through(self.stream, s + 1, coarse, self)
        self.result[s + 1] = result
        pair = dot(result, grow.kernel[0].transpose(1, 0, 2).reshape(h.shape[-1], -1))
        first, second = jnp.split(pair, 2, axis=-1)
        self.second[s] = second + grow.bias
        return first + grow.bias

    def passed_on(self, x: Array) -> Left:
        """What the next pixel needs: stages without one here keep what they had."""
        last = enumerate(self.left.last)
        return Left(
            causal_unet.with_ones(x),
            tuple(self.inputs),
            tuple(self.entered.get(s, old) for s, old in last),
            tuple(self.second),
        )

    def remembered(self, s: int) -> tuple[Any, Array | None, Array | None]:
        """What the next row needs of stage `s`: a Memory's parts."""
        inputs = tuple(
            (jnp.stack([a for a, _ in way]), jnp.stack([b for _, b in way]))
            for way in self.inputs[s]
        )
        return inputs, self.entered.get(s), self.result.get(s)


def _two(left: Array, x: Array, kernel: Array) -> Array:
    """The lower row of a 2 x 2 window."""
    lower = kernel[1].reshape(-1, kernel.shape[-1])
    return dot(jnp.concatenate([left, x], axis=-1), lower)


def columns(
    weights: Weights,
    depth: int,
    before: Memory,
    known: Known,
    noise: Array,
    choose: Choose,
) -> tuple[Array, Memory]:
    """The pixels of one row, a period of 2^depth columns at a time.

    Args:
      weights: the network.
      depth: stages below the finest that have this row.
      before: what the horizontal stream remembers of the row above.
      known: of this row.
      noise: `[width, batch, channels]`, for `choose`.
      choose: from outputs and noise to a pixel.

    Returns:
      The pixels, `[width, batch, channels]`, and what the next row needs.
    """
    width, batch, channels = noise.shape
    period = 2**depth
    groups = -(-width // period)

    def grouped(row: Array, s: int) -> Array:
        """[width, ...] to [groups, columns of a group, ...], zeros beyond the end."""
        size = period >> s
        ends = [(0, groups * size - row.shape[0])] + [(0, 0)] * (row.ndim - 1)
        return jnp.pad(row, ends).reshape(groups, size, *row.shape[1:])

    def joined(row: Array, s: int) -> Array:
        return row.reshape(-1, *row.shape[2:])[: -(-width // 2**s)]

    def step(left: Left, at: tuple[Known, Array]) -> tuple[Left, tuple[Array, Any]]:
        known, noise = at
        xs, seen = [], [[] for _ in range(depth + 1)]
        for column in range(period):
            pixel = Pixel(weights.horizontal, depth, column, known, left)
            h = known.first[column]
            h += dot(left.x, weights.horizontal.first[1].kernel[1, 0])
            h = causal_unet.through(weights.horizontal, 0, h, pixel)
            h = dot(jax.nn.elu(h), weights.output.kernel[0, 0]) + weights.output.bias
            xs.append(choose(h, noise[column]))
            left = pixel.passed_on(xs[-1])
            for s in range(depth + 1):
                if column % 2**s == 0:
                    seen[s].append(pixel.remembered(s))
        stacked = [jax.tree.map(lambda *of: jnp.stack(of), *pixels) for pixels in seen]
        return left, (jnp.stack(xs), stacked)

    features = weights.output.kernel.shape[2]
    blank = jnp.zeros((batch, features), noise.dtype)
    wide = jnp.zeros((batch, 2 * features), noise.dtype)

    def pairs(inputs: Inputs) -> Pairs:
        return ((wide, wide),) * len(inputs[0])

    start = Left(
        jnp.zeros((batch, channels + 1), noise.dtype),
        tuple((pairs(a), pairs(b)) for a, b in before.inputs[: depth + 1]),
        (blank,) * depth,
        (blank,) * depth,
    )
    by_stage = [
        jax.tree.map(lambda row, s=s: grouped(_pixels_first(row), s), rows)
        for s, rows in enumerate(known.convolved)
    ]
    shrunk = [grouped(row, s + 1) for s, row in enumerate(known.shrunk)]
    grown = jax.tree.map(lambda row: grouped(row, depth), known.grown)
    xs = Known(grouped(known.first, 0), tuple(by_stage), tuple(shrunk), grown)
    _, (x, seen) = lax.scan(step, start, (xs, grouped(noise, 0)))
    inputs, last = list(before.inputs), list(before.last)
    result = list(before.result)
    for s in range(depth + 1):
        rows = jax.tree.map(lambda row, s=s: joined(row, s), seen[s])
        inputs[s] = jax.tree.map(_pixels_first, rows[0])
        if s < len(last):
            last[s] = rows[1]
        if s:
            result[s - 1] = rows[2]
    return joined(x, 0), Memory(tuple(inputs), tuple(last), tuple(result))


def _pixels_first(rows: Array) -> Array:
    """[blocks, width, ...] to [width, blocks, ...], or back."""
    return jnp.moveaxis(rows, 1, 0)
