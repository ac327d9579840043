"""Resolution for channels and back: of images by squares, of sound by groups."""

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


Samples = Float[Array, "batch time channels"]
Groups = Float[Array, "batch groups grouped_channels"]


def group(x: Samples, size: int) -> Groups:
    """Each run of `size` positions becomes one, with as many times the channels.

    Channel c of position p of a run becomes channel p * channels + c: no value moves
    in memory.

    Raises:
      ValueError: if `size` does not divide the time.

    Reference: Prenger et al. (2018), section 2.1 ("squeeze to vectors").
    """
    batch, time, channels = x.shape
    if size < 1 or time % size:
        raise ValueError(
            f"{time} samples in groups of {size}: the size of a group must divide the "
            "length; cut or pad the audio"
        )
    return x.reshape(batch, time // size, size * channels)


def ungroup(y: Groups, size: int) -> Samples:
    """Undoes `group`.

    Raises:
      ValueError: if `size` does not divide the channels.
    """
    batch, groups, channels = y.shape
    if size < 1 or channels % size:
        raise ValueError(
            f"{channels} channels are no {size} positions: a multiple was expected"
        )
    return y.reshape(batch, groups * size, channels // size)
