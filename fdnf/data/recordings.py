"""Recordings to tiles, windows and whole clips; which are held out is fixed by name."""

import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fdnf.data import cache, speech, tiles, wav
from fdnf.data.speech import Clips
from fdnf.data.tabular import DataError

# A change to how clips are resampled, cut or split needs a new one.
RECIPE = "v1"


class Recording(NamedTuple):
    """A recording that is read when it is needed.

    Attributes:
        name: What tells a reader which it is; also decides its split.
        length: Its number of samples.
        read: Returns its samples, int16 `[length]`.
    """

    name: str
    length: int
    read: Callable[[], np.ndarray]


class Cut(NamedTuple):
    """How recordings become a data set.

    Attributes:
        segment: Samples in a window, at the wanted rate.
        given: Samples a second of the recordings.
        wanted: Samples a second of the data set.
        rows: Training tiles to keep, evenly over the clips; None for all.
        most: Where `rows` is None, the number above which not all are kept.
        windows: Validation windows to keep, at most.
        test: Test clips, at most; no more than a fifth of all.
        shortest: Seconds a test clip has at least.
    """

    segment: int
    given: int
    wanted: int
    rows: int | None
    most: int | None = None
    windows: int = 256
    test: int = 50
    shortest: float = 0.0


def from_files(files: Sequence[pathlib.Path], rate: int) -> list[Recording]:
    """Reads files at once, and keeps their samples.

    Args:
        files: WAV files of one channel and 16 bits.
        rate: The rate they have to have.

    Returns:
        Recordings, in the order of their names, which are relative to the deepest
        directory that has all of them, wherever that lies.

    Raises:
        DataError: If a file is damaged or of another form.
    """
    root = os.path.commonpath([path.parent for path in files])
    found = []
    for path in sorted(files):
        samples = wav.read(path, rate)
        name = path.relative_to(root).with_suffix("").as_posix()
        found.append(Recording(name, len(samples), lambda samples=samples: samples))
    return found


def hold_out(
    recordings: Sequence[Recording], test: int, shortest: int
) -> tuple[list[Recording], list[Recording], list[Recording]]:
    """Splits clips by a keyed hash of their names, so that copies are split alike.

    Args:
        recordings: The clips.
        test: Test clips, at most; no more than a fifth of all.
        shortest: Samples a test clip has at least.

    Returns:
        Clips of train, val and test, each in the order of names. Val is a tenth of
        all, at most 100.

    Raises:
        DataError: If there are fewer than ten, or none is long enough for test.
    """
    if len(recordings) < 10:
        raise DataError(f"{len(recordings)} clips are too few to split; give ten.")

    def order(clip: Recording) -> bytes:
        return hashlib.blake2b(clip.name.encode(), key=b"fdnf").digest()

    shuffled = sorted(recordings, key=order)
    fit = [clip for clip in shuffled if clip.length >= shortest]
    tested = fit[: min(test, len(recordings) // 5)]
    if not tested:
        raise DataError(f"No clip has the {shortest:,} samples that test clips need.")
    names = {clip.name for clip in tested}
    rest = [clip for clip in shuffled if clip.name not in names]
    count = min(100, len(recordings) // 10)
    val, train, tested = (
        sorted(part, key=lambda clip: clip.name)
        for part in (rest[:count], rest[count:], tested)
    )
    return train, val, tested


def assemble(
    name: str, recordings: Sequence[Recording], how: Cut, source: str, key: str | None
) -> Clips:
    """Splits, resamples and cuts recordings, or reads back what was made of them.

    Args:
        name: The data set's name.
        recordings: All clips.
        how: Rates, sizes and numbers.
        source: The data set's line, to which numbers and rates are added.
        key: What identifies the recordings, to keep what is made; None not to.

    Returns:
        The data set.

    Raises:
        DataError: As `hold_out`, and if there are fewer tiles than asked for.
    """
    speech.check_windows(name, how.segment, how.wanted, how.rows)
    parts = hold_out(recordings, how.test, int(how.shortest * how.given))
    names = tuple(clip.name for clip in parts[2])
    if key is not None:
        key = "-".join([key, *("all" if x is None else str(x) for x in how), RECIPE])
    found = cache.load(key) if key else None
    if found is None:
        test = [_samples(clip, how) for clip in parts[2]]
        found = (
            _tiles(name, parts[0], how),
            _windows(parts[1], how),
            np.concatenate(test),
        )
        if key:
            cache.save(key, found)
    ends = np.cumsum([_length(clip, how) for clip in parts[2]])
    seconds = sum(_length(clip, how) for clip in parts[0]) / how.wanted
    rates = f"{how.given:,} Hz"
    if how.given != how.wanted:
        rates = f"resampled from {how.given:,} to {how.wanted:,} Hz"
    counts = "/".join(str(len(part)) for part in parts)
    return speech.validate(
        Clips(
            name,
            *found[:2],
            test=tuple(np.split(found[2], ends[:-1])),
            test_names=names,
            source=(
                f"{source}, {counts} clips (train/val/test), {seconds:,.0f} s to train"
                f" on, {rates}; {len(found[0]):,} tiles of {2 * how.segment:,} samples"
            ),
            rate=int(how.wanted),
        )
    )


def _length(clip: Recording, how: Cut) -> int:
    return wav.resampled_length(clip.length, how.given, how.wanted)


def _samples(clip: Recording, how: Cut) -> np.ndarray:
    return wav.resample(clip.read(), how.given, how.wanted)


def _tiles(name: str, clips: Sequence[Recording], how: Cut) -> np.ndarray:
    counts = [speech.count(_length(clip, how), how.segment) for clip in clips]
    rows = how.rows
    if rows is None and how.most is not None:
        rows = min(how.most, sum(counts))
    kept = tiles.quotas(name, counts, rows)
    result = np.empty((sum(kept), 2 * how.segment), np.int16)
    row = 0
    for index, (clip, quota) in enumerate(zip(clips, kept, strict=True)):
        if quota:
            every = speech.cut(_samples(clip, how), how.segment)
            chosen = tiles.choose(counts[index], quota, (0, index))
            result[row : row + quota] = every[chosen]
            row += quota
    return result


def _windows(clips: Sequence[Recording], how: Cut) -> np.ndarray:
    every = [speech.windows(_samples(clip, how), how.segment) for clip in clips]
    counts = list(map(len, every))
    kept = tiles.quotas("validation", counts, min(how.windows, sum(counts)))
    return np.concatenate(
        [
            part[tiles.choose(len(part), quota, (1, index))]
            for index, (part, quota) in enumerate(zip(every, kept, strict=True))
        ]
    )
