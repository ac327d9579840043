"""POWER: individual household electric power consumption (Hebrail and Berard, UCI)."""

import array
import pathlib
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds

from fdnf.data import archives, published, tabular
from fdnf.data.builders import common
from fdnf.data.tabular import DataError

ZIP, TEXT = "household_power_consumption.zip", "household_power_consumption.txt"
COLUMNS = 8


class Power(common.Rows):
    """POWER, 6 columns."""

    VERSION = tfds.core.Version(published.PUBLISHED["power"].version)
    UCI_NUMBER, UCI_FILES = "00235", (ZIP,)

    def splits(self, manual: pathlib.Path) -> common.Splits:
        """Makes POWER from UCI's text, or from the array in the archive."""
        with common.scratch() as directory:
            if common.has_archive(manual):
                file = common.from_archive(manual, "power/data.npy", directory)
                return preprocess(common.read_array(file, COLUMNS))
            file = archives.extract_member(manual / ZIP, TEXT, directory / TEXT)
            with open(file, encoding="ascii", errors="replace") as lines:
                return preprocess(parse(lines))


def parse(lines: Iterable[str]) -> np.ndarray:
    """Reads the text: `date;time;` and seven measurements a line.

    Args:
        lines: The file's lines, the heading first. Lines with a missing value
            (`?` or nothing) are dropped.

    Returns:
        Float64 `[rows, 8]`: active power kW, reactive power kW, voltage V, intensity
        A, sub-meterings 1 to 3 in Wh, minute of the day.

    Raises:
        DataError: At a line of another form, with its number.
    """
    values = array.array("d")
    for number, line in enumerate(lines, start=1):
        fields = line.rstrip("\r\n").split(";")
        if number == 1 and fields[0] == "Date":
            continue
        if "?" in line or "" in fields:
            continue
        try:
            hour, minute, _ = fields[1].split(":")
            row = [float(field) for field in fields[2:]]
            row.append(60 * int(hour) + int(minute))
        except (ValueError, IndexError):
            row = []
        if len(row) != COLUMNS:
            raise DataError(
                f"{TEXT}, line {number}: expected date;hh:mm:ss and 7 numbers, got"
                f" {line.strip()[:80]!r}."
            )
        values.extend(row)
    return np.frombuffer(values, np.float64).reshape(-1, COLUMNS)


def preprocess(raw: np.ndarray) -> common.Splits:
    """Shuffles, drops reactive power and intensity, dequantises, splits, scales.

    The draws from `RandomState(42)` are those of the published code, in its order:
    the shuffle, then noise for voltage, power and the sub-meterings, each over its
    meter's step.

    Args:
        raw: As from `parse`.

    Returns:
        Train, val, test with columns: active power, voltage, sub-meterings 1 to 3,
        minute of the day, scaled by mean and deviation of train and val.

    Reference: Papamakarios et al. (2017), appendix D.
    """
    rng = np.random.RandomState(42)
    order = np.arange(len(raw))
    rng.shuffle(order)
    rows = raw[order][:, [0, 2, 4, 5, 6, 7]].astype(np.float64)
    rows[:, 1:2] += 0.01 * rng.rand(len(rows), 1)
    rows[:, 0:1] += 0.001 * rng.rand(len(rows), 1)
    rows[:, 2:5] += rng.rand(len(rows), 3)
    train, val, test = tabular.split_tail(rows)
    seen = rows[: len(train) + len(val)]
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    return common.to_float32((part - mean) / deviation for part in (train, val, test))
