"""Events as sequences of tokens: patches of an image, or runs of a vector's columns.

An event is a vector `[columns]` or an image `[height, width, channels]`; whatever axes
stand before it stay. A token is `patch` columns, or a square of `patch` by `patch`
pixels with all their channels; tokens of an image are in raster order.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array

Shape = tuple[int, ...]


def grid(event: Shape, patch: int) -> Shape:
    """Tokens along each axis: (tokens,) of a vector, (rows, columns) of an image.

    Args:
      event: shape of one event.
      patch: columns of a token, or pixels of its side.

    Raises:
      ValueError: for an event of another rank, or one that patches do not fill.
    """
    if len(event) not in (1, 3):
        raise ValueError(
            f"tokens of events of shape {event}: expected a vector (columns,) or an "
            "image (height, width, channels)"
        )
    sides = event[:1] if len(event) == 1 else event[:2]
    if patch < 1 or any(side % patch or not side for side in sides):
        what = "columns" if len(event) == 1 else "pixels, height x width"
        raise ValueError(
            f"patch={patch} on {' x '.join(map(str, sides))} {what}: expected a patch "
            "of at least 1 that divides them"
        )
    return tuple(side // patch for side in sides)


def count(event: Shape, patch: int) -> int:
    """How many tokens an event has; see `grid`."""
    return math.prod(grid(event, patch))


def split(x: Array, patch: int, rank: int) -> Array:
    """Events as tokens, `[..., tokens, width]`.

    Args:
      x: `[..., *event]`.
      patch: see `grid`.
      rank: axes of an event.

    Raises:
      ValueError: as `grid`.
    """
    before, event = _parted(x, rank)
    sides = grid(event, patch)
    if rank == 1:
        return x.reshape(*before, *sides, patch)
    rows, columns = sides
    squares = _squares(x, before, sides, patch, event[-1])
    return squares.reshape(*before, rows * columns, patch * patch * event[-1])


def join(tokens: Array, patch: int, event: Shape) -> Array:
    """Undoes `split`.

    Args:
      tokens: `[..., tokens, width]`.
      patch: see `grid`.
      event: shape of one event.
    """
    before, sides = tokens.shape[:-2], grid(event, patch)
    if len(event) == 1:
        return tokens.reshape(*before, *event)
    squares = tokens.reshape(*before, *sides, patch, patch, event[-1])
    return jnp.swapaxes(squares, -4, -3).reshape(*before, *event)


def reverse(x: Array, patch: int, rank: int) -> Array:
    """Events with their tokens in the reverse order, each as it was.

    Args: as of `split`.

    Raises:
      ValueError: as `grid`.
    """
    _, event = _parted(x, rank)
    return join(jnp.flip(split(x, patch, rank), -2), patch, event)


def _parted(x: Array, rank: int) -> tuple[Shape, Shape]:
    return x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]


def _squares(x: Array, before: Shape, sides: Shape, patch: int, channels: int) -> Array:
    """`[..., rows, columns, patch, patch, channels]`."""
    rows, columns = sides
    parts = x.reshape(*before, rows, patch, columns, patch, channels)
    return jnp.swapaxes(parts, -4, -3)
