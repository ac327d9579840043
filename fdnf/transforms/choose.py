"""A column's map, chosen from its values or told, and fitted to them."""

import difflib
import math
from typing import Any

import numpy as np

from fdnf.transforms import fits
from fdnf.transforms import rows as of_rows
from fdnf.transforms.columns import KINDS, MOST_STEPS, THEN, Column
from fdnf.transforms.rows import Rows

ALIASES = {"logit": "box", "standardize": "standardise", "identity": "none"}
# What can be told of each kind beside its name.
GIVEN = {
    "none": (),
    "standardise": (),
    "log": ("low", "offset"),
    "box": ("low", "high", "margin"),
    "asinh": ("centre", "scale"),
    "integer": ("step", "then", "low", "high"),
    "periodic": ("period", "low", "cut"),
    "sparse": ("least", "gap"),
}


def choose(
    name: str,
    values: Any,
    weights: Any = None,
    kind: str | None = None,
    *,
    condition: bool = False,
    **given: Any,
) -> tuple[Column, str]:
    """A column's map, fitted to its training rows.

    Chosen with care: whole numbers get noise; a logarithm, a box or asinh are taken
    where the values plainly ask for them; everything else is standardised. `none`,
    `periodic` and `sparse` are never chosen, only told.

    Args:
      name: the column's.
      values: its training rows, real numbers, `[rows]`.
      weights: of the rows, not negative; None for equal ones.
      kind: one of `KINDS`; None to choose.
      condition: whether the column is a condition, which no density is of: whole
        numbers get no noise, and bounds are not minded.
      **given: what is told of the kind, see `GIVEN`: `low` and `high` ends; `margin` of
        a box; `centre` and `scale` of asinh; the `step` of whole numbers, and what
        follows the noise on them, `then`; the `period`, the `low` end of its values (0)
        and where it is `cut`; of a sparse column the `least` value that is not 0, and
        the `gap` below it.

    Returns:
      The column, and one line that says what was chosen and why.

    Raises:
      ValueError: for a column that no density can be of (constant, missing values,
        infinities, text), or that the kind told does not fit; named by its name.
    """
    rows = of_rows.of(name, values, weights)
    told = kind is not None
    if kind is None:
        if given:
            raise rows.fault(f"{', '.join(given)} given without a kind")
        kind, given, why = _guess(rows, condition)
    else:
        kind, why = _known(rows, kind, given), "as told"
        given = {k: v if k == "then" else float(v) for k, v in given.items()}
    column, fitted = fits.FITS[kind](rows, **given)
    said = "; ".join(part for part in (why, fitted) if part)
    note = "" if told or condition else _repeated(rows, column)
    return column, f"{name}: {column.kind} ({said}){note}"


def _known(rows: Rows, kind: Any, given: dict[str, Any]) -> str:
    kind = ALIASES.get(kind, kind)
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), [*KINDS, *ALIASES], 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise rows.fault(f"unknown kind {kind!r}; {hint}known: {', '.join(KINDS)}")
    allowed = GIVEN[kind]
    for part, value in given.items():
        if part not in allowed:
            known = ", ".join(allowed) or "nothing"
            raise rows.fault(f"{kind} takes no {part!r}; it takes {known}")
        if part == "then":
            if value not in THEN:
                raise rows.fault(f"then={value!r}; known: {', '.join(THEN)}")
        elif (
            isinstance(value, bool)
            or not isinstance(value, int | float | np.number)
            or not math.isfinite(value)
        ):
            raise rows.fault(f"{part}={value!r}; expected a number")
        elif part in ("step", "scale", "period", "offset", "least") and not value > 0:
            raise rows.fault(f"{part}={value!r}; expected a positive number")
    if not given.get("low", -math.inf) < given.get("high", math.inf):
        raise rows.fault(f"low={given['low']} is not below high={given['high']}")
    return kind


def _guess(rows: Rows, condition: bool) -> tuple[str, dict[str, Any], str]:
    """Kind, what is to be told of it, and why."""
    low, high = rows.ends
    step = None if condition else _step(rows)
    if step is not None and (high - low) / step <= MOST_STEPS / 2:
        seen = f"from {low:.10g} to {high:.10g}"
        if step == 1:
            return "integer", {}, f"whole numbers {seen}"
        return "integer", {"step": step}, f"multiples of {step:.10g} {seen}"
    ends = None if condition else of_rows.piled(rows)
    if ends is not None:
        why = f"reaches near both {ends[0]:.6g} and {ends[1]:.6g}"
        return "box", {"low": ends[0], "high": ends[1]}, why
    skew = of_rows.skewness(rows.x, rows.weights)
    if low > 0 and of_rows.log_helps(rows, 0.0):
        after = of_rows.skewness(np.log(rows.x), rows.weights)
        return "log", {}, f"all positive, skewness {skew:.1f} -> {after:.1f}"
    if low == 0 and of_rows.log_helps(rows, of_rows.offset_of(rows)):
        offset = of_rows.offset_of(rows)
        return "log", {"offset": offset}, f"none negative, skewness {skew:.1f}"
    heavy = of_rows.heavy(rows)
    if heavy:
        return "asinh", {}, heavy
    return "standardise", {}, f"skewness {skew:.1f}, no heavy tails"


def _step(rows: Rows) -> float | None:
    """Of which all values are multiples, counted from the least: 1, 5, 0.01."""
    low = rows.ends[0]
    distinct = np.unique(rows.x)
    if (distinct == np.round(distinct)).all():
        if max(-low, distinct[-1]) > 2**53:
            return None
        return float(np.gcd.reduce((distinct - low).astype(np.int64)))
    # Decimals: only where values repeat, as measurements that were rounded do.
    if len(distinct) * 4 > len(rows.x):
        return None
    for digits in range(1, 7):
        scaled = distinct * 10**digits
        whole = np.round(scaled)
        if np.abs(whole).max() > MOST_STEPS:
            return None
        if (np.abs(scaled - whole) <= 1e-6 + 1e-7 * np.abs(whole)).all():
            steps = np.gcd.reduce((whole - whole[0]).astype(np.int64))
            return float(steps / 10**digits)
    return None


def _repeated(rows: Rows, column: Column) -> str:
    """A word on values that repeat though the column is not one of whole numbers."""
    if column.whole:
        return ""
    values, counts = np.unique(rows.x, return_counts=True)
    most = int(np.argmax(counts))
    share = counts[most] / len(rows.x)
    if share < 0.02 or counts[most] < 5:
        return ""
    return (
        f"; but {share:.0%} of the rows are {values[most]:.6g}, and the density of a"
        " value that repeats grows without bound: if values are rounded, give"
        ' {"kind": "integer", "step": ...}'
    )
