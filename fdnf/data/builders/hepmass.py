"""HEPMASS: simulated collisions, a particle of mass 1000 (Baldi et al., UCI)."""

import gzip
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from fdnf.data import archives, published
from fdnf.data.builders import common
from fdnf.data.tabular import DataError, told

FEATURES = 27
MEMBERS = ("1000_train.csv", "1000_test.csv")


class Hepmass(common.Rows):
    """HEPMASS, 21 columns."""

    VERSION = tfds.core.Version(published.PUBLISHED["hepmass"].version)
    UCI_NUMBER = "00347"
    UCI_FILES = tuple(f"{name}.gz" for name in MEMBERS)

    def splits(self, manual: pathlib.Path) -> common.Splits:
        """Makes HEPMASS from UCI's two tables, or from the archive's."""
        with common.scratch() as directory:
            if common.has_archive(manual):
                files = [
                    common.from_archive(manual, f"hepmass/{name}", directory)
                    for name in MEMBERS
                ]
            else:
                files = [manual / name for name in self.UCI_FILES]
            train, test = (parse(file) for file in files)
            return preprocess(train, test)


def parse(path: pathlib.Path) -> np.ndarray:
    """Reads one of the two tables: label, 27 features and, in test, one column more.

    Args:
        path: A .csv or .csv.gz file, with one line of heading.

    Returns:
        Label and features, float64 `[rows, 28]`.

    Raises:
        DataError: If it does not read or has fewer columns.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt") as file:
            file.readline()
            columns = len(file.readline().split(","))
    except (UnicodeDecodeError, *archives.DAMAGE) as error:
        raise DataError(f"{path} does not read: {told(error)}.") from None
    if columns < 1 + FEATURES:
        raise DataError(
            f"{path}: expected a label and {FEATURES} features in a row, got {columns}"
            " columns."
        )
    # The published code calls the last column of test a mistake, and drops it.
    return common.read_table(
        path, "a table of numbers", skip=1, delimiter=",", usecols=range(1 + FEATURES)
    )


def preprocess(train: np.ndarray, test: np.ndarray) -> common.Splits:
    """Keeps the signal, scales by train, drops features with repeated values, splits.

    Args:
        train: Label and features, as from `parse`.
        test: The same.

    Returns:
        Train, val and test. Val is the last tenth of train; scaling is by mean and
        (unbiased) deviation of both.

    Reference: Papamakarios et al. (2017), appendix D.
    """
    train, test = (rows[rows[:, 0] == 1, 1:] for rows in (train, test))
    count = int(0.1 * len(train))
    if count == 0 or len(test) == 0:
        raise DataError(
            f"HEPMASS: {len(train)} and {len(test)} signal rows are too few to split."
        )
    mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=1)
    kept = ~common.repeats_smallest(train)
    train, test = (((rows - mean) / deviation)[:, kept] for rows in (train, test))
    return common.to_float32((train[:-count], train[-count:], test))
