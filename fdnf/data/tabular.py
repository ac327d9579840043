"""The form every tabular data set has, and the checks it passes before training."""

from typing import Any, NamedTuple, TypeVar

import numpy as np

SPLITS = ("train", "val", "test")
# Beyond float32, of which squares are still in it; and the spread whose square is.
LARGEST, LARGE, SMALL = 3.4e38, 1e18, 1e-18
# Values of a column that float32 has to keep apart.
STEPS = 256
_REMEDY = (
    "Subtract the mean of each column over the training rows and divide by its"
    " standard deviation, in float64, before saving."
)


class DataError(ValueError):
    """Data that is missing, damaged or of the wrong form; the text says which."""


def told(error: BaseException) -> str:
    """What an error says in its first line, with its type where that says too little.

    Some say nothing (`EOFError()`), and a `KeyError` nothing but the key.
    """
    lines = str(error).strip().splitlines()
    kind = type(error).__name__
    if not lines:
        return kind
    return f"{kind} {lines[0]}" if isinstance(error, KeyError) else lines[0]


class Tabular(NamedTuple):
    """A data set of vectors in three splits.

    Attributes:
        name: The data set's name, as configs spell it.
        train: Training rows, float32 `[rows, dim]`.
        val: Validation rows, float32 `[rows, dim]`.
        test: Test rows, float32 `[rows, dim]`.
        source: One line: what the rows are, whole or subset, and which published
            figures they may be compared with.
    """

    name: str
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    source: str

    @property
    def dim(self) -> int:
        """Number of columns."""
        return self.train.shape[1]

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one row: the number of columns."""
        return self.train.shape[1:]


Data = TypeVar("Data")


def validate(tabular: Tabular) -> Tabular:
    """Checks that the splits are float32 matrices of one width, full and finite.

    Values whose squares leave float32 are refused too: any density of them is infinite
    or that of a constant.

    Args:
        tabular: The data set to check.

    Returns:
        The same data set, unchanged.

    Raises:
        DataError: At the first fault, naming the split and, for a value that is not
            finite, its row and column.
    """
    dim = None
    for split in SPLITS:
        rows = getattr(tabular, split)
        where = f"Data set '{tabular.name}', split '{split}'"
        check_array(rows, np.float32, "[rows, dim]", where)
        if dim is not None and rows.shape[1] != dim:
            raise DataError(
                f"{where}: has {rows.shape[1]} columns, but 'train' has {dim}; the"
                " splits must have the same columns."
            )
        dim = rows.shape[1]
        low, high = _ends(rows)
        _check_finite(rows, low, high, where)
        _check_size(low, high, where)
    return tabular


def to_float32(rows: np.ndarray, where: str) -> np.ndarray:
    """Rows in the type they are trained in, if it can tell them apart.

    Args:
        rows: Real numbers of any type, `[rows, dim]`.
        where: What they are, for errors.

    Returns:
        The rows, float32, contiguous.

    Raises:
        DataError: If a finite value is beyond float32, or a column has so little
            spread beside its size that fewer than `STEPS` values of it are left.
    """
    with np.errstate(over="ignore", under="ignore"):
        cast = np.ascontiguousarray(rows, np.float32)
    if rows.ndim != 2 or rows.size == 0 or np.can_cast(rows.dtype, np.float32):
        return cast
    low, high = (np.asarray(end, np.float64) for end in (rows.min(0), rows.max(0)))
    ends = np.maximum(np.abs(low), np.abs(high))
    for column in np.flatnonzero(np.isfinite(ends) & (ends > LARGEST)):
        raise DataError(
            f"{where}: column {column} goes from {low[column]:g} to {high[column]:g},"
            f" beyond float32. {_REMEDY}"
        )
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        step, spread = np.spacing(ends.astype(np.float32)).astype(float), high - low
    for column in np.flatnonzero((spread > 0) & (spread < STEPS * step)):
        raise DataError(
            f"{where}: column {column} goes from {low[column]:.12g} to"
            f" {high[column]:.12g}, of which float32 keeps"
            f" {1 + int(spread[column] / step[column])} values. {_REMEDY}"
        )
    return cast


def limit(data: Data, rows: int | None, what: str = "rows") -> Data:
    """Keeps the first `rows` training rows, for experiments on little data.

    Args:
        data: The data set, of vectors or of images.
        rows: Number of training rows to keep, or None for all of them.
        what: What the rows are, for errors.

    Returns:
        The data set with a shorter training split that says so in its source.

    Raises:
        DataError: If `rows` is not between 1 and the number there are.
    """
    given: Any = data
    count = len(given.train)
    if rows is None:
        return data
    if not is_whole(rows) or not 1 <= rows <= count:
        raise DataError(
            f"Data set '{given.name}': rows={rows!r}, but it has {count:,} training"
            f" {what}; give a whole number from 1 to {count}, or leave it out for all."
        )
    if rows == count:
        return data
    return given._replace(
        # A copy, so that the rows left out do not stay in memory.
        train=given.train[:rows].copy(),
        source=f"{given.source}; first {rows:,} of {count:,} training {what} only",
    )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and not a truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_array(
    array: Any, dtype: type[np.generic], form: str, where: str, hint: str = ""
) -> None:
    """Checks an array's type and axes, and that there is something in it.

    Args:
        array: What should be a numpy array.
        dtype: The type of its numbers.
        form: Its axes, "[images, height, width, channels]".
        where: What it is, for errors.
        hint: What to do about other types and axes.

    Raises:
        DataError: At the first fault.
    """
    kind = np.dtype(dtype).name
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = getattr(array, "dtype", type(array).__name__)
        article = "an" if kind[0] == "i" else "a"
        raise DataError(
            f"{where}: expected {article} {kind} numpy array, got {found}.{hint}"
        )
    if array.ndim != form.count(",") + 1:
        raise DataError(f"{where}: expected shape {form}, got {array.shape}.{hint}")
    if array.size == 0:
        raise DataError(f"{where}: is empty (shape {array.shape}).")


def split_tail(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits as the published recipes do: the last tenth is test, then val.

    Args:
        rows: All rows, `[rows, dim]`, in the order they are to be split in.

    Returns:
        Train, val and test: `int(0.1 n)` rows for test from the end, `int(0.1 n)` of
        what is left for val from its end.

    Raises:
        DataError: If there are too few rows for three splits.
    """
    test_count = int(0.1 * len(rows))
    val_count = int(0.1 * (len(rows) - test_count))
    if val_count == 0:
        raise DataError(f"{len(rows)} rows are too few to split 81/9/10 percent.")
    rest, test = rows[:-test_count], rows[-test_count:]
    return rest[:-val_count], rest[-val_count:], test


def _ends(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each column.

    Of 64 rows in a line at first: numpy takes extremes of long lines several times
    faster than of short ones (a million rows of 63: 0.04 instead of 0.37 s).
    """
    whole = len(rows) // 64 * 64
    lines = np.ascontiguousarray(rows[:whole]).reshape(-1, 64 * rows.shape[1])
    found = []
    for end in (np.min, np.max):
        parts = [end(lines, axis=0).reshape(64, -1)] if whole else []
        found.append(end(np.concatenate([*parts, rows[whole:]]), axis=0))
    return found[0], found[1]


def _check_size(low: np.ndarray, high: np.ndarray, where: str) -> None:
    largest, spread = np.maximum(-low, high), high - low
    for column in np.flatnonzero(largest > LARGE):
        raise DataError(
            f"{where}: column {column} goes from {low[column]:g} to {high[column]:g},"
            f" whose squares are beyond float32. {_REMEDY}"
        )
    for column in np.flatnonzero((spread > 0) & (spread < SMALL)):
        raise DataError(
            f"{where}: column {column} goes from {low[column]:g} to {high[column]:g};"
            f" the square of so small a spread is 0 in float32. {_REMEDY}"
        )


def _check_finite(
    rows: np.ndarray, low: np.ndarray, high: np.ndarray, where: str
) -> None:
    # The extremes carry any NaN or infinity and need no array of flags.
    if np.isfinite(low).all() and np.isfinite(high).all():
        return
    bad = ~np.isfinite(rows)
    row, column = (int(index) for index in np.argwhere(bad)[0])
    count = int(bad.any(axis=1).sum())
    raise DataError(
        f"{where}: row {row}, column {column} is {rows[row, column]}"
        f" ({count} of {len(rows)} rows hold such values). Remove or fill these rows;"
        " a density model has no use for them."
    )
