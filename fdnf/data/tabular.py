"""The form every tabular data set has, and the checks it passes before training."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

SPLITS = ("train", "val", "test")
# Beyond float32, of which squares are still in it; and the spread whose square is.
LARGEST, LARGE, SMALL = 3.4e38, 1e18, 1e-18
# Values of a column that float32 has to keep apart.
STEPS = 256
_REMEDY = (
    "Subtract the mean of each column over the training rows and divide by its"
    " standard deviation, in float64, before saving; or give the raw rows to"
    " --config=configs/table.py, which scales its columns itself."
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
        conditions: What each row's density is conditional on, float32 `[rows, c]` of
            each split; None for none.
        weights: What each row counts, float32 `[rows]` of each split, of mean 1 over
            the training rows; None where all count alike.
        columns: Transforms that stand between the user's units and the flow
            (`transforms.columns.Columns`); the rows are as these store them. None
            where rows pass as they are.
        condition_columns: Likewise of the conditions.
    """

    name: str
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    source: str
    conditions: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    weights: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    columns: Any = None
    condition_columns: Any = None

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
    if tabular.conditions is not None:
        _check_conditions(tabular)
    if tabular.weights is not None:
        _check_weights(tabular)
    _check_columns(tabular)
    return tabular


def _beside(tabular: Tabular, name: str, form: str) -> Iterator[tuple[np.ndarray, str]]:
    """What stands beside the rows of each split, and how errors call it."""
    given = getattr(tabular, name)
    if not isinstance(given, tuple) or len(given) != len(SPLITS):
        raise DataError(
            f"Data set '{tabular.name}': {name} of type {type(given).__name__}:"
            " expected a tuple of three arrays, one for each split."
        )
    for split, rows in zip(SPLITS, given, strict=True):
        where = f"Data set '{tabular.name}', {name} of split '{split}'"
        check_array(rows, np.float32, form, where)
        count = len(getattr(tabular, split))
        if len(rows) != count:
            raise DataError(f"{where}: {len(rows)} rows, but the split has {count}.")
        yield rows, where


def _check_conditions(tabular: Tabular) -> None:
    width = None
    for rows, where in _beside(tabular, "conditions", "[rows, columns]"):
        if width is not None and rows.shape[1] != width:
            raise DataError(
                f"{where}: has {rows.shape[1]} columns, but 'train' has {width}."
            )
        width = rows.shape[1]
        low, high = _ends(rows)
        _check_finite(rows, low, high, where)
        _check_size(low, high, where)


def _check_columns(tabular: Tabular) -> None:
    given = tabular.conditions
    conditions = 0 if given is None else given[0].shape[1]
    widths = {"columns": tabular.dim, "condition_columns": conditions}
    for name, width in widths.items():
        columns = getattr(tabular, name)
        if columns is not None and len(columns.names) != width:
            raise DataError(
                f"Data set '{tabular.name}': {name} names {len(columns.names)} columns,"
                f" but there are {width}."
            )


def _check_weights(tabular: Tabular) -> None:
    for weights, where in _beside(tabular, "weights", "[rows]"):
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"{where}: row {row} is {weights[row]} ({int(bad.sum())} of"
                f" {len(weights)} rows hold such values); expected finite numbers from"
                " 0 on: rows are drawn in proportion to them."
            )
        if not weights.any():
            raise DataError(f"{where}: all are 0; expected rows that count.")
    assert tabular.weights is not None
    mean = float(tabular.weights[0].mean(dtype=np.float64))
    if abs(mean - 1) > 1e-3:
        raise DataError(
            f"Data set '{tabular.name}': the weights of the training rows have mean"
            f" {mean:g}; divide those of all splits by it, so that it is 1."
        )


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
        **_limited_beside(given, rows),
        # A copy, so that the rows left out do not stay in memory.
        train=given.train[:rows].copy(),
        source=f"{given.source}; first {rows:,} of {count:,} training {what} only",
    )


def _limited_beside(given: Any, rows: int) -> dict[str, Any]:
    """What stands beside the rows of a table, of fewer training rows."""
    found = {}
    if not isinstance(given, Tabular):
        return found
    if given.conditions is not None:
        found["conditions"] = (given.conditions[0][:rows].copy(), *given.conditions[1:])
    if given.weights is not None:
        kept = (given.weights[0][:rows], *given.weights[1:])
        mean = kept[0].mean(dtype=np.float64)
        if not mean > 0:
            raise DataError(
                f"Data set '{given.name}': rows={rows} leaves training rows whose"
                " weights are all 0; take more rows."
            )
        found["weights"] = tuple((part / mean).astype(np.float32) for part in kept)
    return found


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
