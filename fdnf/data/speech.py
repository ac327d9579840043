"""The form every set of recordings has, and the checks it passes before training."""

from typing import Any, NamedTuple

import numpy as np

from fdnf.data import tabular, tiles
from fdnf.data.tabular import DataError

STORED = " Samples stay whole numbers here; division by 32768 belongs to training."


class Clips(NamedTuple):
    """A set of recordings, one channel each, as 16-bit samples.

    Attributes:
        name: The data set's name, as configs spell it.
        train: Tiles for training to cut windows of `segment` from: int16
            `[tiles, tile]`.
        val: Fixed windows of held-out clips, int16 `[windows, segment]`.
        test: Held-out clips, whole, int16 `[time]` each.
        test_names: One name a test clip, unique.
        source: One line: what the clips are, whole or subset, and which published
            figures they may be compared with.
        rate: Samples a second.
    """

    name: str
    train: np.ndarray
    val: np.ndarray
    test: tuple[np.ndarray, ...]
    test_names: tuple[str, ...]
    source: str
    rate: int

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one window: `(segment, 1)`."""
        return (self.val.shape[1], 1)

    @property
    def dim(self) -> int:
        """Number of samples in one window."""
        return self.val.shape[1]


def validate(clips: Clips) -> Clips:
    """Checks that the clips are 16-bit samples of fitting lengths.

    Args:
        clips: The data set to check.

    Returns:
        The same data set, unchanged.

    Raises:
        DataError: At the first fault, naming the split or the clip.
    """
    where = f"Data set '{clips.name}'"
    if not tabular.is_whole(clips.rate) or clips.rate < 1:
        raise DataError(
            f"{where}: rate={clips.rate!r}; expected a whole number of samples a"
            " second."
        )
    tabular.check_array(
        clips.train, np.int16, "[tiles, tile]", f"{where}, split 'train'", STORED
    )
    tabular.check_array(
        clips.val, np.int16, "[windows, segment]", f"{where}, split 'val'", STORED
    )
    segment, tile = clips.val.shape[1], clips.train.shape[1]
    if segment > tile:
        raise DataError(
            f"{where}: windows of {segment} samples do not fit into training tiles of"
            f" {tile}; make tiles of at least {segment}."
        )
    names = clips.test_names
    if len(names) != len(clips.test) or not names or len(set(names)) < len(names):
        raise DataError(
            f"{where}: {len(clips.test)} test clips and {len(set(names))} different"
            f" names of {len(names)}; expected a name each, and at least one clip."
        )
    for name, samples in zip(names, clips.test, strict=True):
        tabular.check_array(
            samples, np.int16, "[time]", f"{where}, test clip '{name}'", STORED
        )
    return clips


def check_windows(
    name: str, segment: Any, rate: Any, rows: Any = None, windows: Any = 1
) -> None:
    """Checks a data set's arguments before anything is read.

    Args:
        name: Whose, for errors.
        segment: Samples in a window.
        rate: Samples a second.
        rows: Number of tiles, or None.
        windows: Number of validation windows.

    Raises:
        DataError: If one is not a whole number from 1.
    """
    given = {"segment": segment, "rate": rate, "rows": rows, "windows": windows}
    if rows is None:
        del given["rows"]
    for argument, value in given.items():
        if not tabular.is_whole(value) or value < 1:
            raise DataError(
                f"{name}: {argument}={value!r}; expected a whole number from 1."
            )


def cut(samples: np.ndarray, segment: int) -> np.ndarray:
    """Cuts a clip into training tiles, so that any window lies inside one of them.

    Args:
        samples: The clip, int16 `[time]`, with its silence.
        segment: Samples in a window.

    Returns:
        Tiles of `2 segment` samples, one every `segment`, the last flush with the end,
        `[tiles, 2 segment]`. A clip shorter than a tile is one, with zeros after it.
    """
    tile = 2 * segment
    if len(samples) < tile:
        return np.pad(samples, (0, tile - len(samples)))[None]
    starts = tiles.starts(len(samples), tile, segment)
    return np.stack([samples[start : start + tile] for start in starts])


def count(length: int, segment: int) -> int:
    """Number of tiles that `cut` makes of a clip of `length` samples."""
    tile = 2 * segment
    return 1 if length < tile else len(tiles.starts(length, tile, segment))


def windows(samples: np.ndarray, segment: int) -> np.ndarray:
    """Cuts a clip into windows side by side, `[windows, segment]`; the rest is left.

    A clip shorter than a window is one, with zeros after it.
    """
    if len(samples) < segment:
        return np.pad(samples, (0, segment - len(samples)))[None]
    count = len(samples) // segment
    return samples[: count * segment].reshape(count, segment)
