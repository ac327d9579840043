"""Residual-in-residual dense blocks: the network that reads low-resolution images.

`Encoder` is both a plain super-resolution network (its image) and what SRFlow and its
students are conditioned on (its maps), so that one can be trained as the former and put
into the latter: the parameters are the same tree.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.nets.conv import Conv, check_dtype

Images = Float[Array, "batch height width channels"]

SLOPE = 0.2
RESIDUAL = 0.2
# Starts of the dense blocks, as a share of the usual ones: deep stacks of residuals
# begin near the identity.
DENSE_GAIN = 0.1


def leaky(h: Array) -> Array:
    """LeakyReLU of slope 0.2."""
    return jax.nn.leaky_relu(h, SLOPE)


def plain_conv(
    inputs: int, features: int, name: str, dtype: str | None, gain: float = 1.0
) -> Conv:
    """3x3 convolution with a bias, its kernel N(0, gain^2 / fan-in) at the start."""
    scale = gain / math.sqrt(9 * inputs)
    return Conv(features, 3, norm=False, dtype=dtype, scale=scale, name=name)


class DenseBlock(nn.Module):
    """x + 0.2 conv([x, h_1, ..., h_n]), each h_i a convolution of all before it.

    Args:
      convs: convolutions, the last one included: 5 as first published, RDB-5C.
      growth: channels of each but the last.
      dtype: of the arithmetic; None is that of the input.

    Reference: Wang et al. (2018), ESRGAN, figure 4.
    """

    convs: int = 5
    growth: int = 32
    dtype: str | None = None

    @nn.compact
    def __call__(self, x: Images) -> Images:
        """Same shape."""
        # He's gain for LeakyReLU, brought down.
        gain = DENSE_GAIN * math.sqrt(2.0 / (1.0 + SLOPE**2))
        seen = x
        for i in range(self.convs - 1):
            conv = plain_conv(
                seen.shape[-1], self.growth, f"conv_{i}", self.dtype, gain
            )
            seen = jnp.concatenate([seen, leaky(conv(seen))], axis=-1)
        conv = plain_conv(seen.shape[-1], x.shape[-1], "conv_out", self.dtype, gain)
        return x + RESIDUAL * conv(seen)


class RRDB(nn.Module):
    """x + 0.2 (the dense blocks' output); of one dense block, that block alone.

    A single dense block is residual itself, and takes the place of the whole (students
    of SRFlow x8).

    Args:
      rdbs: dense blocks.
      convs: convolutions of each.
      growth: see `DenseBlock`.
      dtype: likewise.

    Reference: Wang et al. (2018), ESRGAN, section 3.1; Baranchuk et al. (2021),
    appendix B.1.
    """

    rdbs: int = 3
    convs: int = 5
    growth: int = 32
    dtype: str | None = None

    @nn.compact
    def __call__(self, x: Images) -> Images:
        """Same shape."""
        h = x
        for i in range(self.rdbs):
            h = DenseBlock(self.convs, self.growth, self.dtype, name=f"rdb_{i}")(h)
        return h if self.rdbs == 1 else x + RESIDUAL * h


class Encoded(NamedTuple):
    """What the encoder makes of low-resolution images.

    Attributes:
      image: `[batch, scale * height, scale * width, channels]`, its own estimate.
      maps: one `[batch, h, w, width()]` array a level asked for.
    """

    image: Array
    maps: tuple[Array, ...]


class Encoder(nn.Module):
    """Low-resolution images to their enlargement and to maps at several resolutions.

    A convolution, the blocks, a convolution with a skip around both; then as often as
    log2(scale) nearest-neighbour upsampling and a convolution; two more for the image.
    The map of level l has the size of the enlarged image over 2^l: the activation of
    that resolution (below that of the input, means of 2x2 of it) and beside it the
    outputs of the blocks `taps`, resampled to the nearest.

    Blocks are one loop whose parameters have a leading axis: a program of 23 blocks
    compiles as fast as one of a single block.

    Args:
      scale: enlargement, a power of 2.
      features: channels between.
      blocks: RRDBs.
      growth: see `DenseBlock`.
      rdbs: dense blocks of an RRDB.
      convs: convolutions of a dense block.
      taps: blocks, counted from 0, whose outputs are part of the maps.
      dtype: of the arithmetic; results are float32 in any case.
      unroll: blocks per loop iteration.
      remat: compute a block again for the gradient instead of keeping it.

    Reference: Wang et al. (2018), section 3.1; Lugmayr et al. (2020), SRFlow, section
    3 (architecture) and released code.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 23
    growth: int = 32
    rdbs: int = 3
    convs: int = 5
    taps: tuple[int, ...] = (1, 8, 15, 22)
    dtype: str | None = None
    unroll: int = 1
    remat: bool = True

    def __post_init__(self):
        if self.scale < 2 or self.scale & (self.scale - 1):
            raise ValueError(f"scale={self.scale}: expected a power of 2, e.g. 4 or 8")
        for name in ("features", "blocks", "growth", "rdbs", "convs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if self.dtype is not None:
            check_dtype(type(self).__name__, self.dtype)
        inside = all(0 <= tap < self.blocks for tap in self.taps)
        if not inside or len(set(self.taps)) != len(self.taps):
            raise ValueError(
                f"taps={self.taps} of {self.blocks} blocks: expected different "
                f"numbers from 0 to {self.blocks - 1}"
            )
        super().__post_init__()

    def width(self) -> int:
        """Channels of a map."""
        return self.features * (1 + len(self.taps))

    def deepest(self) -> int:
        """The last level there is a map of, at half the size of the input."""
        return int(math.log2(self.scale)) + 1

    def _trunk(self, h: Array) -> tuple[Array, Array | None]:
        """The blocks' output, and those of `taps` side by side."""
        block = nn.remat(RRDB, prevent_cse=self.unroll > 1) if self.remat else RRDB
        count = len(self.taps)
        # Only what is tapped is kept; all others go to one place more.
        slots = [
            self.taps.index(i) if i in self.taps else count for i in range(self.blocks)
        ]

        def body(module, carry, slot):
            h, kept = carry
            h = module(h)
            kept = jax.lax.dynamic_update_index_in_dim(kept, h, slot, 0)
            return (h, kept), None

        scan = nn.scan(
            body,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.blocks,
            unroll=self.unroll,
        )
        kept = jnp.zeros((count + 1, *h.shape), h.dtype)
        module = block(self.rdbs, self.convs, self.growth, self.dtype, name="blocks")
        (h, kept), _ = scan(module, (h, kept), jnp.asarray(slots))
        if not count:
            return h, None
        return h, jnp.concatenate([kept[i] for i in range(count)], axis=-1)

    @nn.compact
    def __call__(self, lr: Images, levels: tuple[int, ...] = ()) -> Encoded:
        """Enlarges, and gives the maps of `levels`.

        What of it is not used is not computed under `jit`.

        Raises:
          ValueError: for a level there is no map of, or one at half the size of
            images whose sides are odd.
        """
        self._check(lr, levels)
        f = self.features

        def conv(h, features, name):
            return plain_conv(h.shape[-1], features, name, self.dtype)(h)

        first = conv(lr, f, "conv_first")
        h, taps = self._trunk(first)
        h = first + conv(h, f, "conv_trunk")
        at_level = {self.deepest() - 1: h}
        for i in reversed(range(self.deepest() - 1)):
            name = f"conv_up_{self.deepest() - 1 - i}"
            h = leaky(conv(nearest_up(h, 2), f, name))
            at_level[i] = h
        image = conv(leaky(conv(h, f, "conv_hr")), lr.shape[-1], "conv_last")
        maps = tuple(self._map(at_level, taps, level) for level in levels)
        return Encoded(_wide(image), tuple(_wide(m) for m in maps))

    def _map(self, at_level: dict[int, Array], taps: Array | None, level: int) -> Array:
        own = self.deepest() - 1
        halved = level > own
        h = mean_down(at_level[own]) if halved else at_level[level]
        if taps is None:
            return h
        if halved:
            taps = nearest_down(taps)
        else:
            taps = nearest_up(taps, 2 ** (own - level))
        return jnp.concatenate([h, taps], axis=-1)

    def _check(self, lr: Array, levels: tuple[int, ...]) -> None:
        if any(not 0 <= level <= self.deepest() for level in levels):
            raise ValueError(
                f"maps of levels {levels}: with scale={self.scale} there are those of "
                f"levels 0 to {self.deepest()}"
            )
        if self.deepest() in levels and any(side % 2 for side in lr.shape[1:3]):
            raise ValueError(
                f"low-resolution images of {lr.shape[1]} x {lr.shape[2]}: the map of "
                f"level {self.deepest()} has half their size; expected even sides. "
                "Crop or pad them, or use fewer levels"
            )


def _wide(h: Array) -> Array:
    return h.astype(jnp.promote_types(jnp.float32, h.dtype))


def nearest_up(x: Images, times: int) -> Array:
    """Every pixel becomes a square of `times` by `times` of them."""
    if times == 1:
        return x
    batch, height, width, channels = x.shape
    shape = (batch, height, times, width, times, channels)
    tiled = jnp.broadcast_to(x[:, :, None, :, None, :], shape)
    return tiled.reshape(batch, height * times, width * times, channels)


def nearest_down(x: Images) -> Array:
    """The upper left pixel of every 2x2."""
    return x[:, ::2, ::2]


def mean_down(x: Images) -> Array:
    """The mean of every 2x2: bilinear resampling to half the size, sides even."""
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return squares.mean(axis=(2, 4))
