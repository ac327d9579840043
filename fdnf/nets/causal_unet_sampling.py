"""A causal U-Net pixel by pixel: each unit is computed once, when its inputs are known.

For a row, the vertical stream is computed whole, and so is all that the horizontal one
takes from rows above. Then only products of one pixel are left, with the features of
the pixel before as memory. A stage of half the resolution does so in every other row
and column. Which stages a row or column touches has a period of 2^(stages - 1), so
rows are of one kind for each stage, and columns are unrolled over the period: no
convolution, no test, and no write into a large array happens inside of the loops.

Reference: Ramachandran et al. (2017), Fast generation for convolutional autoregressive
models.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fdnf.nets import causal_unet, causal_unet_pixels
from fdnf.nets.causal_unet import Blocks, Layer, Stream, Weights, concat_elu, dot, gate
from fdnf.nets.causal_unet_pixels import Choose, Inputs, Known, Memory


def generate(
    weights: Weights,
    noise: Float[Array, "batch height width channels"],
    choose: Choose,
) -> Float[Array, "batch height width channels"]:
    """Chooses pixels in raster order, each given the network's outputs for it.

    x with x[i, j] = choose(evaluate(weights, x)[i, j], noise[i, j]), exactly.

    Args:
      weights: the network.
      noise: handed to `choose`, pixel by pixel.
      choose: see `Choose`.
    """
    noise = noise.transpose(1, 2, 0, 3)
    height, width, batch, channels = noise.shape
    features = weights.output.kernel.shape[2]
    stages = len(weights.vertical.stages)
    dtype = jnp.result_type(noise, weights.output.kernel)

    def blank(s: int, size: int) -> Array:
        return jnp.zeros((-(-width // 2**s), batch, size), dtype)

    def blanks(s: int, blocks: Blocks) -> Inputs:
        rows = jnp.stack([blank(s, 2 * features)] * len(blocks.inner.bias))
        return rows, rows

    def memory(stream: Stream) -> Memory:
        return Memory(
            inputs=tuple(
                (blanks(s, stage.down), blanks(s, stage.up))
                for s, stage in enumerate(stream.stages)
            ),
            last=tuple(blank(s, features) for s in range(stages - 1)),
            result=tuple(blank(s, features) for s in range(1, stages)),
        )

    start = (
        (blank(0, channels + 1),) * 2,
        memory(weights.vertical),
        memory(weights.horizontal),
    )

    def row(depth: int) -> Callable[[Any, Array], tuple[Any, Array]]:
        return lambda state, noise: _row(weights, depth, state, noise, choose)

    kinds = [row(depth) for depth in range(stages)]

    def step(state: Any, at: tuple[Array, Array]) -> tuple[Any, Array]:
        depth, noise = at
        return lax.switch(depth, kinds, state, noise)

    depths = jnp.asarray([_depth(i, stages - 1) for i in range(height)])
    _, x = lax.scan(step, start, (depths, noise.astype(dtype)))
    return x.transpose(2, 0, 1, 3)


def _depth(i: int, most: int) -> int:
    """Stages below the finest that row or column `i` touches: how often 2 divides."""
    return next((d for d in range(most) if i % 2 ** (d + 1)), most)


def _row(
    weights: Weights, depth: int, state: Any, noise: Array, choose: Choose
) -> tuple[Any, Array]:
    """One row of pixels, and what the next one needs."""
    (x_2, x_1), above, before = state
    (first,) = weights.vertical.first
    h = _windows((x_2, x_1), first.kernel) + first.bias
    vertical = Row(weights.vertical, depth, above)
    causal_unet.through(weights.vertical, 0, h, vertical)
    known = _known(weights.horizontal, depth, before, vertical.made, x_1)
    x, before = causal_unet_pixels.columns(weights, depth, before, known, noise, choose)
    return ((x_1, causal_unet.with_ones(x)), vertical.memory(), before), x


def _windows(rows: tuple[Array, ...], kernel: Array, stride: int = 1) -> Array:
    """Convolution of some rows with a kernel of as many, to one row."""
    columns = kernel.shape[1]
    left = columns // 2
    width = rows[0].shape[0]
    size = -(-width // stride)
    ends = ((left, columns - 1 - left + stride), (0, 0), (0, 0))
    taps = [
        padded[j : j + stride * (size - 1) + 1 : stride]
        for padded in (jnp.pad(row, ends) for row in rows)
        for j in range(columns)
    ]
    wide = jnp.concatenate(taps, axis=-1)
    return dot(wide, kernel.reshape(-1, kernel.shape[-1]))


def _grown(row: Array, grow: Layer, parity: int, width: int) -> Array:
    """The row of twice the resolution below `row`, the upper or the lower one."""
    kernel = grow.kernel[parity]
    pairs = dot(row, kernel.transpose(1, 0, 2).reshape(kernel.shape[1], -1))
    size, batch, _ = pairs.shape
    pairs = pairs.reshape(size, batch, 2, -1).transpose(0, 2, 1, 3)
    return pairs.reshape(2 * size, batch, -1)[:width] + grow.bias


class Row:
    """A row of the vertical stream: a Site.

    Args:
      stream: the vertical stream.
      depth: stages below the finest that have a row here.
      above: what is remembered.
    """

    def __init__(self, stream: Stream, depth: int, above: Memory):
        self.stream, self.depth, self.above = stream, depth, above
        self.made: dict[int, causal_unet.Results] = {}
        self._down: dict[int, tuple[Array, Inputs]] = {}
        self.inputs = list(above.inputs)
        self.last = list(above.last)
        self.result = list(above.result)

    def _block(
        self, block: Blocks, h: Array, above: Inputs, skip: Array | None
    ) -> tuple[Array, Inputs]:
        first = concat_elu(h)
        inner = _windows((above[0], first), block.inner.kernel) + block.inner.bias
        if skip is not None:
            assert block.skip is not None
            inner += dot(concat_elu(skip), block.skip)
        second = concat_elu(inner)
        outer = _windows((above[1], second), block.outer.kernel) + block.outer.bias
        return gate(h, outer), (first, second)

    def down(self, s: int, blocks: Blocks, h: Array) -> tuple[Array, Array]:
        """Blocks of stage `s`."""

        def body(h: Array, at: Any) -> tuple[Array, Any]:
            made, inputs = self._block(at[0], h, at[1], None)
            return made, (h, made, inputs)

        h, (seen, *made) = lax.scan(body, h, (blocks, self.above.inputs[s][0]))
        self._down[s] = tuple(made)
        return h, seen

    def below(self, s: int, h: Array) -> Array:
        """The coarser stages where they have a row here, else what they said above."""
        shrink, grow = causal_unet.halving_of(self.stream, s)
        if s < self.depth:
            rows = (self.above.last[s], h)
            coarse = _windows(rows, shrink.kernel, 2) + shrink.bias
            self.result[s] = causal_unet.through(self.stream, s + 1, coarse, self)
        self.last[s] = h
        return _grown(self.result[s], grow, int(s == self.depth), h.shape[0])

    def up(self, s: int, blocks: Blocks, h: Array, seen: Array) -> Array:
        """Blocks of stage `s` with the shortcuts `seen`."""

        def body(h: Array, at: Any) -> tuple[Array, Any]:
            block, above, skip = at
            made, inputs = self._block(block, h, above, skip)
            return made, (made, inputs)

        of = (blocks, self.above.inputs[s][1], seen[::-1])
        h, (made, inputs) = lax.scan(body, h, of)
        made_down, inputs_down = self._down[s]
        self.made[s] = causal_unet.Results(made_down, made)
        self.inputs[s] = (inputs_down, inputs)
        return h

    def memory(self) -> Memory:
        """What the next row needs: stages that had no row here keep what they had."""
        return Memory(tuple(self.inputs), tuple(self.last), tuple(self.result))


def _known(
    stream: Stream,
    depth: int,
    before: Memory,
    vertical: dict[int, causal_unet.Results],
    x_1: Array,
) -> Known:
    above, left = stream.first
    first = _windows((x_1,), above.kernel) + above.bias
    # The window of one column is that of the column before.
    moved = jnp.pad(x_1, ((1, 0), (0, 0), (0, 0)))[:-1]
    first += dot(moved, left.kernel[0, 0]) + left.bias

    def of_block(at: tuple[Blocks, Inputs, Array]) -> Inputs:
        block, (inner, outer), side = at
        known = _windows((inner,), block.inner.kernel[:1]) + block.inner.bias
        assert block.vertical is not None
        known += dot(concat_elu(side), block.vertical)
        return known, _windows((outer,), block.outer.kernel[:1]) + block.outer.bias

    convolved = []
    for s in range(depth + 1):
        stage = stream.stages[s]
        ways = zip((stage.down, stage.up), before.inputs[s], vertical[s], strict=True)
        down, up = (lax.map(of_block, at) for at in ways)
        convolved.append((down, up))
    shrunk = []
    for s in range(depth):
        shrink, _ = causal_unet.halving_of(stream, s)
        rows = (before.last[s],)
        shrunk.append(_windows(rows, shrink.kernel[:1], 2) + shrink.bias)
    grown = None
    if depth + 1 < len(stream.stages):
        _, grow = causal_unet.halving_of(stream, depth)
        grown = _grown(before.result[depth], grow, 1, -(-x_1.shape[0] // 2**depth))
    return Known(first, tuple(convolved), tuple(shrunk), grown)
