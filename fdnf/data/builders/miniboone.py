"""MINIBOONE: electron neutrinos in the MiniBooNE detector (Roe, UCI)."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from fdnf.data import published, tabular
from fdnf.data.builders import common
from fdnf.data.tabular import DataError

TEXT = "MiniBooNE_PID.txt"
FEATURES = 50


class Miniboone(common.Rows):
    """MINIBOONE, 43 columns."""

    VERSION = tfds.core.Version(published.PUBLISHED["miniboone"].version)
    UCI_NUMBER, UCI_FILES = "00199", (TEXT,)

    def splits(self, manual: pathlib.Path) -> common.Splits:
        """Makes MINIBOONE from UCI's text, or from the array in the archive."""
        if common.has_archive(manual):
            with common.scratch() as directory:
                file = common.from_archive(manual, "miniboone/data.npy", directory)
                columns = published.PUBLISHED["miniboone"].dim
                return preprocess(common.read_array(file, columns))
        return preprocess(clean(parse(manual / TEXT)))


def parse(path: pathlib.Path) -> np.ndarray:
    """Reads the signal events.

    Args:
        path: The text: a line with the counts of signal and background events, then
            50 numbers a line, the signal first.

    Returns:
        Signal events in file order, float64 `[rows, 50]`.

    Raises:
        DataError: If it does not read or has fewer events than its first line says.
    """
    with open(path, encoding="ascii", errors="replace") as file:
        first = file.readline().split()
    try:
        signal, _ = (int(count) for count in first)
    except ValueError:
        raise DataError(
            f"{path}: the first line should count signal and background events, got"
            f" {' '.join(first)[:80]!r}."
        ) from None
    what = "lines of 50 numbers"
    rows = common.read_table(path, what, skip=1, max_rows=signal)
    if rows.shape != (signal, FEATURES):
        raise DataError(
            f"{path}: expected {signal} signal events of {FEATURES} features, got"
            f" shape {rows.shape}."
        )
    return rows


def clean(raw: np.ndarray) -> np.ndarray:
    """Drops failed events (-999 throughout) and features with repeated values.

    Args:
        raw: Signal events, `[rows, 50]`.

    Returns:
        Events `[rows, 43]`, if they are the published ones.

    Reference: Papamakarios et al. (2017), appendix D.
    """
    rows = raw[raw[:, 0] >= -100]
    if len(rows) == 0:
        raise DataError("MINIBOONE: no event has a first feature of at least -100.")
    return rows[:, ~common.repeats_smallest(rows)]


def preprocess(raw: np.ndarray) -> common.Splits:
    """Splits in file order and scales by mean and deviation of train and val.

    Args:
        raw: As from `clean`.

    Returns:
        Train, val and test.

    Reference: Papamakarios et al. (2017), appendix D.
    """
    parts = tabular.split_tail(raw)
    seen = np.concatenate(parts[:2])
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    return common.to_float32((part - mean) / deviation for part in parts)
