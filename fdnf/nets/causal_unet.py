"""The arithmetic of PixelCNN++'s causal U-Net, as functions of its weights.

Two streams go through the same stages. At a pixel the vertical one has seen all rows
above, the horizontal one these and the pixels to the left; the horizontal one reads
the vertical one, never the other way. What a stream does is written once, in
`through`; how a convolution gets at its neighbours is a `Site`'s business. `Images`
has whole images at hand; `causal_unet_sampling` has one row, then one pixel, and
remembers the neighbours.

Blocks of one stage and direction are stacked, and loops run over them: the program
has one copy of each kind of block.

Reference: Salimans et al. (2017), PixelCNN++, section 2.4 and released code.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fdnf.ops import convolutions

dot = convolutions.dot


class Layer(NamedTuple):
    """A convolution: kernel `[rows, columns, in, out]`, bias `[1 or batch, out]`."""

    kernel: Array
    bias: Array


class Blocks(NamedTuple):
    """Gated residual blocks, stacked along a first axis of every array.

    Attributes:
      inner: to `features`.
      outer: to twice as many, before the gate.
      vertical: of what the horizontal stream reads of the vertical one, a kernel `[2
        features, features]`; None in the vertical stream.
      skip: of the shortcut, likewise; None on the way down in resolution.
    """

    inner: Layer
    outer: Layer
    vertical: Array | None
    skip: Array | None


class Halving(NamedTuple):
    """To half the resolution and back."""

    shrink: Layer
    grow: Layer


class Stage(NamedTuple):
    """Blocks of one resolution, and the way to the next; the coarsest has none."""

    down: Blocks
    up: Blocks
    halving: Halving | None


class Stream(NamedTuple):
    """First convolutions on the image, and the stages, the finest first.

    The vertical stream's `first` is one layer of 2 x 3 on the rows i-2 and i-1; the
    horizontal one's are 1 x 3 on row i-1 and 2 x 1 on column j-1.
    """

    first: tuple[Layer, ...]
    stages: tuple[Stage, ...]


class Weights(NamedTuple):
    """All of the network; `output` is a layer of one pixel."""

    vertical: Stream
    horizontal: Stream
    output: Layer


@runtime_checkable
class Site(Protocol):
    """Where a stream is evaluated."""

    def down(self, s: int, blocks: Blocks, h: Array) -> tuple[Array, Array]:
        """Blocks of stage `s`; also the stack of what each of them was given."""
        ...

    def below(self, s: int, h: Array) -> Array:
        """What the stages below `s` make of `h`, at the resolution of `s`."""
        ...

    def up(self, s: int, blocks: Blocks, h: Array, seen: Array) -> Array:
        """Blocks of stage `s` with the shortcuts `seen`, the last one first."""
        ...


def halving_of(stream: Stream, s: int) -> Halving:
    """That of a stage that has one."""
    halving = stream.stages[s].halving
    assert halving is not None, f"stage {s} is the coarsest"
    return halving


def concat_elu(h: Array) -> Array:
    """ELUs of h and of -h side by side: twice the channels."""
    return jnp.concatenate([jax.nn.elu(h), jax.nn.elu(-h)], axis=-1)


def gate(h: Array, both: Array) -> Array:
    """The gated residual, h + a sigmoid(b)."""
    a, b = jnp.split(both, 2, axis=-1)
    return h + a * jax.nn.sigmoid(b)


def through(stream: Stream, s: int, h: Array, site: Site) -> Array:
    """Stage `s` of a stream, and those below it."""
    stage = stream.stages[s]
    h, seen = site.down(s, stage.down, h)
    if s + 1 < len(stream.stages):
        seen = jnp.concatenate([seen, h[None]])
        h = site.below(s, h)
    return site.up(s, stage.up, h, seen)


def with_ones(x: Array) -> Array:
    """The image with a channel of ones, which tells pixels from the padding."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)


def interleave(h: Array, height: int, width: int) -> Array:
    """[b, i, j, 4 c] to [b, 2 i, 2 j, c], cut to height and width."""
    batch, rows, columns, channels = h.shape
    h = h.reshape(batch, rows, columns, 2, 2, channels // 4)
    h = h.transpose(0, 1, 3, 2, 4, 5)
    return h.reshape(batch, 2 * rows, 2 * columns, -1)[:, :height, :width]


def _spread(bias: Array) -> Array:
    return bias[:, None, None]


def _window(kernel: Array) -> convolutions.Padding:
    """Up, and left or to both sides: windows of 2 or of 3 columns."""
    rows, columns = kernel.shape[:2]
    return (rows - 1, 0), (columns // 2, columns - 1 - columns // 2)


class Results(NamedTuple):
    """Results of a stage's blocks, stacked, on the way down and on the way up."""

    down: Array
    up: Array


class Images:
    """Whole images: a Site.

    Args:
      stream: what is evaluated.
      vertical: results of the vertical stream, by stage, where `stream` is the
        horizontal one.
    """

    def __init__(self, stream: Stream, vertical: dict[int, Results] | None = None):
        self.stream = stream
        self.vertical = vertical
        self.made: dict[int, Results] = {}
        self._made_down: dict[int, Array] = {}

    def _block(
        self, block: Blocks, h: Array, vertical: Array | None, skip: Array | None
    ) -> Array:
        inner = _convolve(concat_elu(h), block.inner)
        for side, kernel in ((vertical, block.vertical), (skip, block.skip)):
            if side is not None:
                assert kernel is not None
                inner += dot(concat_elu(side), kernel)
        return gate(h, _convolve(concat_elu(inner), block.outer))

    def down(self, s: int, blocks: Blocks, h: Array) -> tuple[Array, Array]:
        """Blocks of stage `s`."""

        def body(h: Array, at: tuple[Blocks, Any]) -> tuple[Array, tuple[Array, Array]]:
            block, vertical = at
            made = self._block(block, h, vertical, None)
            return made, (h, made)

        vertical = None if self.vertical is None else self.vertical[s].down
        h, (seen, self._made_down[s]) = lax.scan(body, h, (blocks, vertical))
        return h, seen

    def below(self, s: int, h: Array) -> Array:
        """Half the resolution, and back."""
        shrink, grow = halving_of(self.stream, s)
        inner = through(self.stream, s + 1, _convolve(h, shrink, 2), self)
        made = dot(inner, grow_matrix(grow.kernel)) + _spread(jnp.tile(grow.bias, 4))
        return interleave(made, *h.shape[1:3])

    def up(self, s: int, blocks: Blocks, h: Array, seen: Array) -> Array:
        """Blocks of stage `s` with the shortcuts `seen`."""

        def body(h: Array, at: tuple[Blocks, Array, Any]) -> tuple[Array, Array]:
            block, skip, vertical = at
            made = self._block(block, h, vertical, skip)
            return made, made

        vertical = None if self.vertical is None else self.vertical[s].up
        h, made = lax.scan(body, h, (blocks, seen[::-1], vertical))
        self.made[s] = Results(self._made_down[s], made)
        return h


def _convolve(x: Array, layer: Layer, stride: int = 1) -> Array:
    made = convolutions.convolve_shifted(x, layer.kernel, _window(layer.kernel), stride)
    return made + _spread(layer.bias)


def grow_matrix(kernel: Array) -> Array:
    """[2, 2, in, out] to [in, 4 out]."""
    return kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1)


def evaluate(
    weights: Weights, x: Float[Array, "batch height width channels"]
) -> Float[Array, "batch height width outputs"]:
    """Outputs of all pixels; those of (i, j) see the pixels before it only."""
    image = with_ones(x)
    convolve = convolutions.convolve_shifted
    (above,) = weights.vertical.first
    # The last row and the last column are seen by nobody's first convolution.
    h = convolve(image[:, :-1], above.kernel, ((2, 0), (1, 1))) + _spread(above.bias)
    vertical = Images(weights.vertical)
    through(weights.vertical, 0, h, vertical)
    above, left = weights.horizontal.first
    h = convolve(image[:, :-1], above.kernel, ((1, 0), (1, 1))) + _spread(above.bias)
    h += convolve(image[:, :, :-1], left.kernel, ((1, 0), (1, 0))) + _spread(left.bias)
    horizontal = Images(weights.horizontal, vertical.made)
    h = through(weights.horizontal, 0, h, horizontal)
    return dot(jax.nn.elu(h), weights.output.kernel[0, 0]) + _spread(
        weights.output.bias
    )
