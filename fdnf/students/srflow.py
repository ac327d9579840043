"""SRFlow's students: its latents and encoder, and no restriction between."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.nets import rrdb
from fdnf.nets.conv import Conv
from fdnf.ops import conditions, latents, squeeze
from fdnf.ops.entering import Ints, Made
from fdnf.students.base import Latents, Student
from fdnf.types import Context, Variables


class SRFlowStudent(Student):
    """Noise and low-resolution images to high-resolution ones, feed-forward.

    From the coarsest level to the finest: a convolution of [h, map of the encoder]
    to widths[l - 1] channels; beside them the latent split off at that level, if there
    is one; `base_blocks` residual dense blocks; a 1x1 convolution and an activation
    norm; squares of 2x2 pixels out of the channels. A 1x1 convolution gives the image.
    h starts as the top latent. Latents are those of an SRFlow of equal `scale` and as
    many levels as there are widths.

    The activation norm is a proper one. The released code's takes its statistics for
    one direction and applies the other, so that its start multiplies by the deviation
    once more; the number of weights is the same.

    Args:
      scale: enlargement, a power of 2.
      widths: channels after the convolution that sees the map, level 1 first, before
        a latent is put beside them; with it they must be a multiple of 4.
        (6, 24, 96) as published for scale 4, (18, 48, 192, 384) for 8.
      base_blocks: RRDBs of each level, 6 and 1.
      base_rdbs: dense blocks of each, 2 and 3.
      base_convs: convolutions of a dense block, 3 and 5.
      base_growth: channels that each of them adds.
      channels: of the images.
      features: channels of the encoder.
      blocks: the encoder's RRDBs.
      growth: channels that each convolution adds in their dense blocks.
      rdbs: dense blocks of the encoder's RRDBs, 3 and 1; 1 makes it a dense block.
      convs: convolutions of the encoder's dense blocks, 5 and 3.
      taps: the encoder's blocks that the maps contain; (1, 3, 5, 7) for scale 8.
      inherits: whether `inherit` takes over the teacher's encoder. As published it is
        True for scale 4, and False for 8, whose encoder is smaller.
      dtype: of the convolutions' arithmetic, "float32" or "bfloat16".
      remat: compute the encoder's blocks again for the gradient.

    The defaults are the published student of scale 4.

    Reference: Baranchuk et al. (2021), appendix B.1 and released code.
    """

    condition_axes = (conditions.IMAGE,)

    scale: int = 4
    widths: Ints = (6, 24, 96)
    base_blocks: int = 6
    base_rdbs: int = 2
    base_convs: int = 3
    base_growth: int = 32
    channels: int = 3
    features: int = 64
    blocks: int = 23
    growth: int = 32
    rdbs: int = 3
    convs: int = 5
    taps: Ints = (1, 8, 15, 22)
    inherits: bool = True
    dtype: str = "float32"
    remat: bool = True

    def __post_init__(self):
        most = int(math.log2(self.scale)) + 1 if self.scale > 0 else 0
        if not 1 <= len(self.widths) <= most:
            raise ValueError(
                f"widths={self.widths} with scale={self.scale}: expected 1 to {most} "
                "of them, as many as the encoder has maps for"
            )
        for i, width in enumerate(self.widths):
            whole = width + self._split_off(i)
            if width < 1 or whole % 4:
                raise ValueError(
                    f"widths={self.widths}: level {i + 1} has {width} channels and "
                    f"{self._split_off(i)} of its latent, {whole} in all: expected a "
                    "multiple of 4, out of which squares of 2x2 pixels are made"
                )
        super().__post_init__()

    def _made_with(self, params: Any) -> Made | None:
        low = params["encoder"]["conv_first"]["kernel"].shape[-2]
        return Made((None, None, self.channels), (None, None, low))

    def _split_off(self, i: int) -> int:
        """Channels of the latent of level i + 1, 0 where none is split off."""
        return self._passed(i) if i < len(self.widths) - 2 else 0

    def _passed(self, i: int) -> int:
        """Channels that the flow passes on after the split of level i + 1."""
        return 2 * self.channels * 2**i

    @property
    def multiple(self) -> int:
        """Of which the sides of images have to be multiples."""
        return max(self.scale, 2 ** len(self.widths))

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Those of the SRFlow of equal `scale` and as many levels.

        Raises:
          ValueError: for events that are not images of `channels` channels whose
            sides both `scale` and 2^levels divide.
        """
        levels = len(self.widths)
        times = self.multiple
        if (
            len(event) != 3
            or event[2] != self.channels
            or any(side % times for side in event[:2])
        ):
            raise ValueError(
                f"SRFlowStudent of {levels} levels, scale={self.scale}, on data of "
                f"shape {event}: expected (height, width, {self.channels}) with sides "
                f"that {times} divides; crop the images"
            )
        return latents.split_shapes(event, levels, max(levels - 2, 0))

    @nn.compact
    def _generate(
        self, z: Latents, cond: Context | None
    ) -> Float[Array, "batch height width channels"]:
        """Images, not clipped to [0, 1].

        Raises:
          ValueError: for latents or low-resolution images that do not fit each other.
        """
        levels = len(self.widths)
        maps = self._maps(z, cond, levels)
        dtype = self._dtype()
        *rest, h = z
        for i in reversed(range(levels)):
            seen = jnp.concatenate([h, maps[i].astype(h.dtype)], axis=-1)
            h = rrdb.plain_conv(
                seen.shape[-1], self.widths[i], f"merge_{i + 1}", dtype
            )(seen)
            if self._split_off(i):
                h = jnp.concatenate([h, rest[i].astype(h.dtype)], axis=-1)
            for k in range(self.base_blocks):
                shape = (self.base_rdbs, self.base_convs, self.base_growth, dtype)
                h = rrdb.RRDB(*shape, name=f"base_{i + 1}_{k}")(h)
            h = self._pointwise(h, h.shape[-1], f"mix_{i + 1}", norm=True)
            h = squeeze.unsqueeze(h)
        return self._pointwise(h, self.channels, "last", norm=False).astype(z[-1].dtype)

    def inherit(self, variables: Variables, teacher: Variables) -> Variables:
        """The variables with the teacher's encoder, if `inherits`.

        Args:
          variables: of this student.
          teacher: of an SRFlow (or RRDBNet) with an equal encoder.

        Raises:
          ValueError: if the encoders differ.
        """
        if not self.inherits:
            return variables
        params = variables["params"]
        theirs = teacher["params"].get("encoder")
        if _shapes(params["encoder"]) != _shapes(theirs):
            raise ValueError(
                "the teacher's encoder differs from the student's: expected equal "
                "scale, features, blocks, growth, rdbs and convs; set "
                "inherits=False to start with an encoder of its own"
            )
        # Copied, since training donates its buffers and the teacher keeps its own.
        encoder = jax.tree.map(jnp.copy, theirs)
        return {**variables, "params": {**params, "encoder": encoder}}

    def _dtype(self) -> str | None:
        return None if self.dtype == "float32" else self.dtype

    def _pointwise(self, h: Array, features: int, name: str, norm: bool) -> Array:
        scale = 1.0 / math.sqrt(h.shape[-1])
        return Conv(features, 1, norm, self._dtype(), scale, name=name)(h)

    def _maps(self, z: Latents, cond: Context | None, levels: int) -> tuple[Array, ...]:
        """The encoder's maps, level 1 first, after a look at the arguments."""
        if cond is None or cond.ndim != 4:
            given = None if cond is None else cond.shape
            raise ValueError(
                f"SRFlowStudent with a condition of {given}: expected low-resolution "
                "images [batch, height, width, channels] in [0, 1]"
            )
        rows, height, width, _ = cond.shape
        event = (height * self.scale, width * self.scale, self.channels)
        expected = [(rows, *part) for part in self.latent_shapes(event)]
        if [part.shape for part in z] != expected:
            raise ValueError(
                f"latents of shapes {[part.shape for part in z]} beside "
                f"low-resolution images of {cond.shape}: expected {expected}"
            )
        encoder = rrdb.Encoder(
            scale=self.scale,
            features=self.features,
            blocks=self.blocks,
            growth=self.growth,
            rdbs=self.rdbs,
            convs=self.convs,
            taps=tuple(self.taps),
            dtype=self._dtype(),
            remat=self.remat,
            name="encoder",
        )
        return encoder(cond, tuple(range(1, levels + 1))).maps


def _shapes(tree: Variables) -> list:
    leaves, structure = jax.tree.flatten(tree)
    return [structure, *(leaf.shape for leaf in leaves)]
