"""Rows in the user's units as a data set: a transform for each column, fitted."""

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Its names, and jax with them, are imported when a table is read.
from fdnf import transforms as of_columns
from fdnf.data import tabular
from fdnf.data.tabular import SPLITS, DataError, Tabular

_log = logging.getLogger(__name__)
_told: set[str] = set()


def fitted(
    name: str,
    rows: Sequence[np.ndarray],
    columns: Sequence[str],
    conditions: Sequence[np.ndarray] | None = None,
    condition_columns: Sequence[str] = (),
    weights: Sequence[np.ndarray] | None = None,
    transforms: Mapping[str, Any] | None = None,
    *,
    source: str = "",
    where: str = "",
) -> Tabular:
    """A data set of rows in the user's units, its transforms fitted to training rows.

    Args:
        name: The data set's.
        rows: Of each split, real numbers `[rows, columns]`.
        columns: Names of the columns.
        conditions: Likewise, `[rows, conditions]`.
        condition_columns: Their names.
        weights: Of each split, `[rows]`, not negative.
        transforms: See `table`.
        source: The line that says what the rows are.
        where: What errors begin with, as a file's name; the data set's by default.

    Raises:
        DataError: For what is wrong, with the column's name.
    """
    where = where or f"Data set {name!r}"
    told = dict(transforms or {})
    known = [*columns, *condition_columns]
    for each in told:
        if each not in known:
            near = difflib.get_close_matches(str(each), known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{where}: transforms names {each!r}, which is no column here.{hint}"
                f" There are: {', '.join(known)}."
            )
    masses = None if weights is None else _weights(weights, where)
    mass = None if masses is None else masses[0]
    made = _fit(rows, columns, mass, told, where, False)
    stored = [
        _stored(made, part, s, where) for part, s in zip(rows, SPLITS, strict=True)
    ]
    found, kept = None, None
    if conditions is not None and condition_columns:
        found = _fit(conditions, condition_columns, mass, told, where, True)
        train, val, test = (
            _stored(found, part, s, where)
            for part, s in zip(conditions, SPLITS, strict=True)
        )
        kept = train, val, test
    return tabular.validate(
        Tabular(
            name,
            *stored,
            source=source or f"{name}, in its own units",
            conditions=kept,
            weights=masses,
            columns=made,
            condition_columns=found,
        )
    )


def _weights(
    given: Sequence[np.ndarray], where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of mean 1 over the training rows."""
    for part, split in zip(given, SPLITS, strict=True):
        bad = ~(part >= 0)
        if bad.any():
            raise DataError(
                f"{where}: weights of {split!r} are negative in {int(bad.sum()):,}"
                f" rows, the first is {part[np.argmax(bad)]:g}; expected numbers from 0"
                " on."
            )
        if not part.any():
            raise DataError(
                f"{where}: all weights of {split!r} are 0; expected rows that count."
            )
    mean = float(np.mean(given[0], dtype=np.float64))
    train, val, test = (np.asarray(part / mean, np.float32) for part in given)
    return train, val, test


def _fit(
    rows: Sequence[np.ndarray],
    names: Sequence[str],
    weights: np.ndarray | None,
    told: Mapping[str, Any],
    where: str,
    condition: bool,
) -> Any:
    made = []
    for index, name in enumerate(names):
        values = [np.asarray(part)[:, index] for part in rows]
        try:
            column, reason = _chosen(name, values, weights, told.get(name), condition)
        except ValueError as error:
            raise DataError(f"{where}, {error}.") from None
        tell(f"{'condition' if condition else 'column'} {reason}")
        made.append(column)
    return of_columns.Columns(tuple(made))


def _chosen(
    name: str,
    values: Sequence[np.ndarray],
    weights: np.ndarray | None,
    told: Any,
    condition: bool,
) -> tuple[Any, str]:
    if told is not None:
        given = {"kind": told} if isinstance(told, str) else told
        if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
            raise ValueError(
                f"column {name!r}: transforms has {told!r}; expected a kind"
                f" ({', '.join(of_columns.KINDS)}), or one with what it takes:"
                ' {"kind": "box", "low": 0, "high": 1}'
            )
        if condition and given["kind"] == "integer":
            raise ValueError(
                f"column {name!r}: a condition gets no noise; take standardise in place"
                " of integer"
            )
        return of_columns.choose(name, values[0], weights, condition=condition, **given)
    column, reason = of_columns.choose(name, values[0], weights, condition=condition)
    # What training rows do not show must not refuse the others.
    wider: list[dict[str, Any]] = [{"kind": "standardise"}]
    if column.kind == "log":
        wider = [{"kind": "asinh"}]
    elif column.whole:
        wider.insert(0, {"kind": "integer", "step": column.unit, "then": "standardise"})
    for kind in wider:
        outside = [int(column.fault(part)[0].sum()) for part in values[1:]]
        if not any(outside):
            break
        said = " and ".join(
            f"{count:,} of {split}"
            for count, split in zip(outside, SPLITS[1:], strict=True)
            if count
        )
        before = column.kind if not column.whole else f"{column.kind}, {column.then}"
        column, reason = of_columns.choose(
            name, values[0], weights, condition=condition, **kind
        )
        reason += f"; {before} has no place for rows that are not for training, {said}"
    return column, reason


def _stored(columns: Any, rows: np.ndarray, split: str, where: str) -> np.ndarray:
    try:
        return columns.store(rows)
    except ValueError as error:
        raise DataError(
            f"{where}, split {split!r}: {error}. The transform was told: give it other"
            " ends, or another kind."
        ) from None


def tell(line: str) -> None:
    """Logs a line once; a run loads its data several times."""
    if line not in _told:
        _told.add(line)
        _log.info("%s", line)
