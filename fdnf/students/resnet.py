"""A residual network that sees all latents of an image at once."""

from typing import Any

from jaxtyping import Array, Float

from fdnf.nets.conv import ConvResNet
from fdnf.ops import conditions, squeeze
from fdnf.ops.entering import Made
from fdnf.students.base import Latents, Student
from fdnf.types import Context


class ResNet(Student):
    """x = z + net(z), a residual network neither causal nor invertible.

    Latents are squeezed (2x2 pixels into channels) before the network, which loses
    nothing and lets few convolutions see the whole image. The hidden channels should
    be no fewer than those of the squeezed latents, and beside them z itself is added
    to the output, so that no layer narrows what passes (Huang et al., section 4).
    One output value sees latents up to (2 blocks + 2) 2^squeezes pixels away in
    each direction; an image that is larger is refused.

    Args:
      hidden: channels between.
      blocks: residual blocks of two 3x3 convolutions.
      squeezes: how often height and width are halved.

    Reference: Huang et al. (2019), section 4.1.3.
    """

    condition_axes = (conditions.VECTOR, conditions.IMAGE)

    hidden: int = 64
    blocks: int = 6
    squeezes: int = 1

    def setup(self):
        """Makes the network."""
        self.net = ConvResNet(self.hidden, self.blocks)

    def _made_with(self, params: Any) -> Made | None:
        net = params["net"]
        width = net["conv_out"]["kernel"].shape[-1]
        if "context" in net:
            cond = (net["context"]["kernel"].shape[-2],)
        else:
            extra = net["conv_in"]["kernel"].shape[-2] - width
            # Channels depend on the size, see `_check_images`.
            cond = (None, None, None) if extra else None
        return Made((None, None, width // 4**self.squeezes), cond)

    def _check_images(self, cond: Context | None, h: Array) -> None:
        """Refuses images that do not fit what the network works on."""
        if cond is None or cond.ndim != 4:
            return
        made = None
        if not self.is_initializing():
            kernel = self.variables["params"]["net"]["conv_in"]["kernel"]
            made = [kernel.shape[-2] - h.shape[-1]]
        conditions.check_images(
            self._name, cond.shape, [(h.shape[1], h.shape[2])], made
        )

    def reach(self) -> int:
        """Pixels in each direction that every output value sees, at the least."""
        return (2 * self.blocks + 2) * 2**self.squeezes

    def _generate(
        self, z: Latents, cond: Context | None
    ) -> Float[Array, "batch height width channels"]:
        """Images of latents.

        Raises:
          ValueError: for other than one latent of image shape, sides that 2^squeezes
            does not divide, or images beyond the network's reach.
        """
        if len(z) != 1 or z[0].ndim != 4:
            raise ValueError(
                f"latents of shapes {[part.shape for part in z]}: expected one, of "
                "the shape of an image"
            )
        (whole,) = z
        side = max(whole.shape[1:3])
        if self.reach() < side - 1:
            raise ValueError(
                f"blocks={self.blocks}, squeezes={self.squeezes} see {self.reach()} "
                f"pixels in each direction, images have {side}: far latents would not "
                "count; raise blocks or squeezes"
            )
        return self.unchecked(whole, cond)

    def unchecked(self, z: Array, cond: Context | None = None) -> Array:
        """Images of any size."""
        h = z
        for _ in range(self.squeezes):
            h = squeeze.squeeze(h)
        self._check_images(cond, h)
        h = self.net(h, h.shape[-1], cond)
        for _ in range(self.squeezes):
            h = squeeze.unsqueeze(h)
        return z + h
