"""GAS: sensors under dynamic mixtures of ethylene and CO (Fonollosa et al., UCI)."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from fdnf.data import archives, published, tabular
from fdnf.data.builders import common

ZIP, TEXT = "data.zip", "ethylene_CO.txt"
SENSORS = range(3, 19)


class Gas(common.Rows):
    """GAS, 8 columns.

    Made from UCI's text only: the archive of all five sets has it as a pickle, which
    is code, and is not opened.
    """

    VERSION = tfds.core.Version(published.PUBLISHED["gas"].version)
    UCI_NUMBER, UCI_FILES = "00322", (ZIP,)
    ARCHIVED = False

    def splits(self, manual: pathlib.Path) -> common.Splits:
        """Makes GAS from UCI's text."""
        with common.scratch() as directory:
            file = archives.extract_member(manual / ZIP, TEXT, directory / TEXT)
            return preprocess(draw(parse(file)))


def parse(path: pathlib.Path) -> np.ndarray:
    """Reads the text: time, two concentrations and 16 sensors a line.

    Args:
        path: The file, with one line of heading.

    Returns:
        The sensors, float64 `[rows, 16]`.

    Raises:
        DataError: If it does not read.
    """
    what = "a heading and lines of 19 numbers (time, CO, ethylene, 16 sensors)"
    return common.read_table(path, what, skip=1, usecols=SENSORS)


def draw(recording: np.ndarray, fraction: float = 0.25) -> np.ndarray:
    """Draws the part of the recording that the published set is.

    The published rows number exactly `round(0.25 n)` and the published code has the
    line that drew them, in random order, commented out and without a seed. So this
    agrees in distribution, not in rows.

    Args:
        recording: All rows, in time order.
        fraction: How much of them to draw.

    Returns:
        Rows in random order, from a fixed seed.
    """
    count = round(fraction * len(recording))
    order = np.random.RandomState(42).permutation(len(recording))
    return recording[order[:count]]


def preprocess(raw: np.ndarray) -> common.Splits:
    """Drops correlated sensors, scales by all rows, splits.

    While any sensor correlates above 0.98 with another, the first such is dropped.

    Args:
        raw: Sensors, float64 `[rows, sensors]`.

    Returns:
        Train, val, test, scaled by mean and (unbiased) deviation of all rows, test
        included, as published.

    Reference: Papamakarios et al. (2017), appendix D.
    """
    # Deleting a column leaves the other columns' correlations as they are.
    close = np.corrcoef(raw, rowvar=False) > 0.98
    kept = list(range(raw.shape[1]))
    while np.any(partners := close[np.ix_(kept, kept)].sum(axis=1) > 1):
        del kept[int(np.argmax(partners))]
    rows = raw[:, kept]
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1)
    return common.to_float32(tabular.split_tail(rows))
