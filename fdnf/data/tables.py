"""A user's own table: its columns read by name, transformed, and split."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fdnf.data import frames, tabular, transformed
from fdnf.data.frames import Frame, Names
from fdnf.data.tabular import SPLITS, DataError, Tabular

# Training rows that anything can be fitted to.
LEAST = 20
MISSING = ("refuse", "drop")
# Of a column that names splits.
_SPLIT_WORDS = {
    "train": 0,
    "training": 0,
    **dict.fromkeys(("val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}


def table(
    path: str,
    columns: str | int | tuple[str | int, ...] | list[str | int] | None = None,
    conditions: str | int | tuple[str | int, ...] | list[str | int] | None = None,
    weights: str | int | None = None,
    transforms: Mapping[str, Any] | None = None,
    fractions: tuple[float, ...] | list[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    split: str | int | None = None,
    path_val: str | None = None,
    path_test: str | None = None,
    missing: str = "refuse",
    header: bool = True,
    delimiter: str | None = None,
    data_dir: str | None = None,
    rows: int | None = None,
) -> Tabular:
    """A user's own table, of CSV, Parquet, Arrow, .npy or .npz.

    Every column gets a transform, see `fdnf.transforms`, which is fitted to the
    training rows, stands before the flow and counts in its densities: these are of the
    table's own units, and samples are in them. What was chosen for each column, and
    why, is logged in a line.

    Args:
        path: The file.
        columns: Those whose density is learned: names, places from 0 on, or text with
            commas; None for all but those that the other options name.
        conditions: Columns that the density is conditional on.
        weights: Column of what each row counts, not negative.
        transforms: By column what is not to be chosen: a kind, {"income": "log"}, or
            kind and what it takes, {"angle": {"kind": "periodic", "period": 360}}.
        fractions: Parts of the rows for training, validation and test.
        seed: Of their draw.
        split: Column that says "train", "val" or "test" of each row, in place of
            `fractions`.
        path_val: File of the validation rows, in place of a part of `path`.
        path_test: Likewise of the test rows.
        missing: What is done about rows with missing values: "refuse" or "drop".
        header: Whether the first line of a CSV file has the columns' names.
        delimiter: What stands between values of a CSV file; None to go by its first
            line.
        data_dir: What a relative path that does not exist here is relative to.
        rows: Training rows to keep; all by default.

    Returns:
        The data set; rows and conditions are as their `columns` and `condition_columns`
        store them.

    Raises:
        DataError: For what is wrong, with file and column in one line.
    """
    if missing not in MISSING:
        raise DataError(f"missing={missing!r}; known: {', '.join(MISSING)}.")
    frame = frames.read(_found(path, data_dir), header=header, delimiter=delimiter)
    names, given, weighing, splitting = _columns(
        frame, columns, conditions, weights, split
    )
    used = [*names, *given, *weighing]
    whole = _matrix(frame, used)
    others = [
        _matrix(
            frames.read(_found(each, data_dir), header=header, delimiter=delimiter),
            used,
        )
        if each
        else None
        for each in (path_val, path_test)
    ]
    parts = _split(frame, whole, others, fractions, seed, splitting)
    parts = [
        _complete(part, used, frame, missing, s)
        for part, s in zip(parts, SPLITS, strict=True)
    ]
    if rows is not None:
        if not tabular.is_whole(rows) or not 1 <= rows <= len(parts[0]):
            raise DataError(
                f"{frame.path}: rows={rows!r}, but it has {len(parts[0]):,} training"
                " rows; give a whole number up to that, or leave it out for all."
            )
        parts[0] = parts[0][:rows]
    if len(parts[0]) < LEAST:
        raise DataError(
            f"{frame.path}: {len(parts[0])} training rows are too few; expected at"
            f" least {LEAST}."
        )
    counts = "/".join(f"{len(part):,}" for part in parts)
    return transformed.fitted(
        frame.path.stem,
        [part[:, : len(names)] for part in parts],
        names,
        [part[:, len(names) : len(names) + len(given)] for part in parts],
        given,
        [part[:, -1] for part in parts] if weighing else None,
        transforms,
        source=f"from {frame.path}, {counts} rows, in the table's own units",
        where=str(frame.path),
    )


def read_rows(
    path: str | os.PathLike[str],
    names: Sequence[str],
    *,
    header: bool = True,
    delimiter: str | None = None,
) -> np.ndarray:
    """Columns of a file by name, in the user's units, as of new rows or conditions.

    Args:
        path: The file, see `frames.read`.
        names: The columns. Of a file without names, as a matrix, as many as it has.
        header: See `frames.read`.
        delimiter: Likewise.

    Returns:
        float64 `[rows, columns]`, in the order of `names`.

    Raises:
        DataError: If a column is not there, or a value is missing or no number.
    """
    frame = frames.read(path, header=header, delimiter=delimiter)
    nameless = all(column.isdecimal() for column in frame.columns)
    if nameless and len(frame.columns) == len(names):
        names = list(frame.columns)
    found = _matrix(frame, frame.find(list(names), "the command"))
    return _complete(found, list(names), frame, "refuse", "")


def _found(path: str, data_dir: str | None) -> pathlib.Path:
    found = pathlib.Path(os.path.expanduser(path))
    if not path:
        raise DataError(
            "No table is named: give its file as --config.data.path=rows.csv."
        )
    if data_dir is not None and not found.exists():
        return pathlib.Path(data_dir) / found
    return found


def _columns(
    frame: Frame,
    columns: Names | None,
    conditions: Names | None,
    weights: str | int | None,
    split: str | int | None,
) -> tuple[list[str], list[str], list[str], list[str]]:
    """Names of each kind, none in two of them."""
    given = [] if conditions is None else frame.find(conditions, "conditions")
    weighing = [] if weights is None else frame.find(weights, "weights")
    splitting = [] if split is None else frame.find(split, "split")
    for what, found in (("weights", weighing), ("split", splitting)):
        if len(found) > 1:
            raise DataError(
                f"{frame.path}: {what} names {len(found)} columns, not one."
            )
    taken = {*given, *weighing, *splitting}
    if columns is None:
        names = [name for name in frame.columns if name not in taken]
        if "" in names:
            raise DataError(
                f"{frame.path}: column {list(frame.columns).index('')} has no name, as"
                " an index that was saved with the table has none. Name it, or name the"
                f" others: columns={','.join(name for name in names if name)}."
            )
    else:
        names = frame.find(columns, "columns")
    for first, second, what in (
        (names, given, "columns and conditions"),
        (names, weighing, "columns and weights"),
        (given, weighing, "conditions and weights"),
    ):
        if both := [name for name in first if name in second]:
            raise DataError(f"{frame.path}: {', '.join(both)} is in {what}.")
    if not names:
        raise DataError(f"{frame.path}: no column is left whose density is learned.")
    return names, given, weighing, splitting


def _matrix(frame: Frame, names: Sequence[str]) -> np.ndarray:
    """Columns in float64, as far as it holds them."""
    out = np.empty((frame.rows, len(names)))
    for index, name in enumerate(frame.find(list(names), "columns")):
        column = frame.numbers(name)
        out[:, index] = column
        if (
            column.dtype.kind in "iu"
            and (out[:, index].astype(column.dtype) != column).any()
        ):
            raise DataError(
                f"{frame.path}, column {name!r}: whole numbers from {column.min():,} to"
                f" {column.max():,} are beyond what float64 tells apart; subtract the"
                " larger part before saving."
            )
    return out


def _split(
    frame: Frame,
    whole: np.ndarray,
    others: list[np.ndarray | None],
    fractions: Any,
    seed: int,
    splitting: list[str],
) -> list[np.ndarray]:
    """Rows of training, validation and test."""
    elsewhere = [other is not None for other in others]
    if splitting or frame.counts:
        what = f"the column {splitting[0]!r}" if splitting else "the file itself"
        if any(elsewhere):
            raise DataError(
                f"{frame.path}: {what} says the splits; leave out path_val and"
                " path_test."
            )
        if splitting:
            place = _places(frame, splitting[0])
        else:
            place = np.repeat([0, 1, 2], frame.counts or ())
        parts = [whole[place == index] for index in range(3)]
    else:
        sizes = _fractions(fractions, frame)
        # Of the parts that come from this file; the others have files of their own.
        own = [
            sizes[0],
            *(0 if e else s for e, s in zip(elsewhere, sizes[1:], strict=True)),
        ]
        ends = np.cumsum(own) / sum(own) * len(whole)
        first, second = (int(round(end)) for end in ends[:2])
        order = np.random.default_rng(seed).permutation(len(whole))
        drawn = np.split(order, [first, second])
        parts = [whole[drawn[0]]]
        for other, rows in zip(others, drawn[1:], strict=True):
            parts.append(whole[rows] if other is None else other)
    for part, name in zip(parts, SPLITS, strict=True):
        if not len(part):
            raise DataError(
                f"{frame.path}: of {len(whole):,} rows none are left for {name}; give"
                " more rows, or other fractions."
            )
    return parts


def _places(frame: Frame, name: str) -> np.ndarray:
    words = [word.lower() for word in frame.words(name)]
    wrong = sorted({word for word in words if word not in _SPLIT_WORDS})
    if wrong:
        raise DataError(
            f"{frame.path}, column {name!r}: it holds"
            f" {', '.join(map(repr, wrong[:3]))}; expected train, val or test in each"
            " row."
        )
    return np.array([_SPLIT_WORDS[word] for word in words])


def _fractions(given: Any, frame: Frame) -> list[float]:
    numbers = [float(part) for part in given]
    good = len(numbers) == 3 and all(0 < part < 1 for part in numbers)
    if not good or not math.isclose(sum(numbers), 1, abs_tol=1e-6):
        raise DataError(
            f"{frame.path}: fractions={tuple(numbers)}; expected three, of training,"
            " validation and test, that add up to 1."
        )
    return numbers


def _complete(
    part: np.ndarray, names: Sequence[str], frame: Frame, missing: str, split: str
) -> np.ndarray:
    """Rows without those that hold missing values; infinities are never dropped."""
    where = f"{frame.path}{f', split {split!r}' if split else ''}"
    for index in np.flatnonzero(np.isinf(part).any(axis=0)).tolist():
        count = int(np.isinf(part[:, index]).sum())
        raise DataError(
            f"{where}, column {names[index]!r}: infinite in {count:,} of {len(part):,}"
            " rows. Remove these rows, or cut the values off."
        )
    gone = np.isnan(part)
    if not gone.any():
        return part
    bad = gone.any(axis=1)
    each = ", ".join(
        f"{names[index]!r} in {int(gone[:, index].sum()):,}"
        for index in np.flatnonzero(gone.any(axis=0)).tolist()
    )
    if missing == "drop":
        transformed.tell(
            f"{where}: {int(bad.sum()):,} of {len(part):,} rows dropped: {each}"
        )
        return part[~bad]
    raise DataError(
        f"{where}: values are missing in {int(bad.sum()):,} of {len(part):,} rows"
        f" (column {each}). Fill them"
        + (", or leave these rows out: --config.data.missing=drop." if split else ".")
    )
