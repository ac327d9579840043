"""SRFlow's encoder as a super-resolution network of its own."""

from typing import Any

from jaxtyping import Array, Float

from fdnf.nets import rrdb
from fdnf.ops import conditions
from fdnf.ops.entering import Made
from fdnf.students.base import Latents, Student
from fdnf.types import Context, Given


class RRDBNet(Student):
    """Low-resolution images to their enlargement, without noise.

    Trained on the l1 distance it is the row "RRDB" of the published table, and what an
    SRFlow's encoder starts from: put its params["encoder"] in the place of the flow's.

    Args:
      scale: enlargement, a power of 2.
      features: channels between.
      blocks: RRDBs.
      growth: channels that each convolution adds in their dense blocks.
      rdbs: dense blocks of an RRDB.
      convs: convolutions of a dense block.
      dtype: of the arithmetic, "float32" or "bfloat16".
      remat: compute a block again for the gradient instead of keeping it.

    Reference: Wang et al. (2018), ESRGAN, section 3.1; Baranchuk et al. (2021),
    table 1.
    """

    condition_axes = (conditions.IMAGE,)

    scale: int = 4
    features: int = 64
    blocks: int = 23
    growth: int = 32
    rdbs: int = 3
    convs: int = 5
    dtype: str = "float32"
    remat: bool = True

    def setup(self):
        """Makes the encoder."""
        self.encoder = rrdb.Encoder(
            scale=self.scale,
            features=self.features,
            blocks=self.blocks,
            growth=self.growth,
            rdbs=self.rdbs,
            convs=self.convs,
            taps=(),
            dtype=None if self.dtype == "float32" else self.dtype,
            remat=self.remat,
        )

    def _made_with(self, params: Any) -> Made | None:
        low = params["encoder"]["conv_first"]["kernel"].shape[-2]
        return Made((None, None, low), (None, None, low))

    def _given_latents(self, z: Given) -> Latents:
        if len(z):
            raise ValueError(f"{len(z)} latents: RRDBNet takes none, z=()")
        return ()

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """There are none."""
        return ()

    def _generate(
        self, z: Latents, cond: Context | None
    ) -> Float[Array, "batch height width channels"]:
        """Images `scale` times as high and wide as `cond`.

        Raises:
          ValueError: for a condition that is no batch of images.
        """
        if cond is None or cond.ndim != 4:
            given = None if cond is None else cond.shape
            raise ValueError(
                f"RRDBNet with a condition of {given}: expected low-resolution images "
                "[batch, height, width, channels] in [0, 1]"
            )
        return self.encoder(cond).image
