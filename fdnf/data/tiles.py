"""Where tiles lie in images and recordings, and which of many are kept."""

from collections.abc import Sequence

import numpy as np

from fdnf.data import tabular
from fdnf.data.tabular import DataError


def starts(length: int, tile: int, stride: int) -> np.ndarray:
    """First positions of tiles along an axis: every `stride`, and flush with the end.

    With `tile >= stride + window` every window on the axis lies inside one tile.

    Args:
        length: Of the axis, at least `tile`.
        tile: Length of a tile.
        stride: From one tile to the next.

    Returns:
        Positions, rising, int64.
    """
    found = np.arange(0, length - tile + 1, stride)
    if found[-1] + tile < length:
        found = np.append(found, length - tile)
    return found


def quotas(name: str, counts: Sequence[int], rows: int | None) -> list[int]:
    """Shares `rows` evenly: none has two more than another, unless that one has all.

    Args:
        name: The data set, for errors.
        counts: How many tiles each image or clip has.
        rows: How many to keep in all, or None for all.

    Returns:
        How many to keep of each; a remainder goes to the first.

    Raises:
        DataError: If `rows` is not from 1 to the number there are.
    """
    if rows is None:
        return list(counts)
    total = sum(counts)
    if not tabular.is_whole(rows) or not 1 <= rows <= total:
        raise DataError(
            f"Data set '{name}': rows={rows!r}, but it has {total:,} training tiles of"
            f" this size; give a whole number from 1 to {total}, or leave it out."
        )
    kept, left = [0] * len(counts), int(rows)
    while left:
        unspent = [index for index, count in enumerate(counts) if kept[index] < count]
        share, extra = divmod(left, len(unspent))
        for place, index in enumerate(unspent):
            more = min(share + (place < extra), counts[index] - kept[index])
            kept[index] += more
            left -= more
    return kept


def choose(count: int, kept: int, seed: Sequence[int]) -> np.ndarray:
    """Draws `kept` of `count` tiles without repetition, in rising order.

    Args:
        count: How many there are.
        kept: How many to keep.
        seed: Of the draw; the same seed and `count` give the same order, so that more
            of them hold all that fewer hold.

    Returns:
        Indices, int64 `[kept]`.
    """
    order = np.random.Generator(np.random.PCG64(list(seed))).permutation(count)
    return np.sort(order[:kept])
