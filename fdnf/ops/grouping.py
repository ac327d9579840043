"""Time to channels and back: how audio flows trade resolution."""

from jaxtyping import Array, Float

Fine = Float[Array, "batch time channels"]
Coarse = Float[Array, "batch groups grouped_channels"]


def group(x: Fine, size: int) -> Coarse:
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


def ungroup(y: Coarse, size: int) -> Fine:
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
