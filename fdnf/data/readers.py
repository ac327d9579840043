"""Passes over an array that see each example exactly once."""

from collections.abc import Iterator

import numpy as np


def padded_batches(
    array: np.ndarray, batch_size: int, multiple_of: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts an array into batches of one size, padding the last.

    Every batch has the same shape, so a compiled step is compiled once. Padding
    repeats the last example, which is always a legal input; the mask tells it apart.

    Args:
        array: Examples `[rows, ...]`, at least one.
        batch_size: Examples a batch, at least 1. A batch is never larger than needed
            for the whole array.
        multiple_of: Batches are padded up to a multiple of this, so that they split
            evenly over devices.

    Yields:
        A batch `[batch, ...]` and its mask `[batch]`, bool, false on padding.

    Raises:
        ValueError: If there are no examples, or a size is below 1.
    """
    if batch_size < 1 or multiple_of < 1:
        raise ValueError(
            f"batch_size and multiple_of must be at least 1, got {batch_size} and"
            f" {multiple_of}."
        )
    if len(array) == 0:
        raise ValueError("There are no examples to batch: the array has no rows.")
    own = min(batch_size, len(array))
    size = -(-own // multiple_of) * multiple_of
    for start in range(0, len(array), own):
        batch = array[start : start + own]
        count = len(batch)
        if count < size:
            padding = np.broadcast_to(batch[-1:], (size - count, *batch.shape[1:]))
            batch = np.concatenate([batch, padding])
        yield batch, np.arange(size) < count
