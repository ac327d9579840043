"""Space to depth and back: what multi-scale flows trade resolution with."""

from jaxtyping import Array, Float

Fine = Float[Array, "batch height width channels"]
Coarse = Float[Array, "batch low_height low_width depth"]


def squeeze(x: Fine) -> Coarse:
    """Each 2x2 block of pixels becomes 4 times the channels of one pixel.

    Channel c of pixel (dy, dx) of a block becomes channel 4 c + 2 dy + dx.

    Raises:
      ValueError: if height or width is odd.

    Reference: Dinh et al. (2017), section 3.6.
    """
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise ValueError(
            f"cannot squeeze images of {height} x {width}: both sides must be even; "
            "a flow of L levels needs sides that 2^L divides"
        )
    blocks = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    blocks = blocks.transpose(0, 1, 3, 5, 2, 4)
    return blocks.reshape(batch, height // 2, width // 2, 4 * channels)


def unsqueeze(y: Coarse) -> Fine:
    """Undoes `squeeze`.

    Raises:
      ValueError: if the channels are no multiple of 4.
    """
    batch, height, width, channels = y.shape
    if channels % 4:
        raise ValueError(f"cannot unsqueeze {channels} channels: 4 must divide them")
    blocks = y.reshape(batch, height, width, channels // 4, 2, 2)
    blocks = blocks.transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(batch, 2 * height, 2 * width, channels // 4)
