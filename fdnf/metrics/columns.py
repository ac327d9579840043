"""Columns of a sample held against those of a reference: their tails and spreads.

Both are ratios, 1 where the samples agree, and name the column that is worst. Being the
worst of many, they are above 1 for two samples of one distribution as well: compare
with a further sample of the reference.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

X = Float[np.ndarray | jax.Array, "n features"]
Own = Float[np.ndarray | jax.Array, "m features"]
Given = Float[np.ndarray | jax.Array, "conditions draws features"]
OwnGiven = Float[np.ndarray | jax.Array, "conditions others features"]

# Rows of the reference that are to lie beyond a tail's threshold, and the share that
# they are at the least.
BEYOND, RAREST = 25, 1e-4
# Spreads below this share of a column's largest value are rounding, of float32 too.
ROUNDING = 1e-6


class Tail(NamedTuple):
    """The tail in which two samples differ most.

    Attributes:
        factor: how many times as often the sample is there as the reference, or the
            other way round: at least 1. A half is added to both counts.
        log_error: standard error of its logarithm, from the two counts.
        column: which it is.
        upper: whether it is the column's upper tail.
        often: whether the sample is there too often, not too seldom.
    """

    factor: float
    log_error: float
    column: int
    upper: bool
    often: bool


def tail_level(rows: int) -> float:
    """The share of a tail that a reference of so many rows can tell of.

    It is 1e-4, or as much as 25 rows of the reference are.
    """
    return min(0.5, max(RAREST, BEYOND / rows))


def worst_tail(x: X, own: Own, level: float | None = None) -> Tail:
    """Over columns and both ends, the tail that is most too heavy or too light.

    Of each column the thresholds are the reference's own quantiles at `level` and
    1 - `level`; the rows of both samples strictly beyond are counted.

    Args:
        x: the sample; what is not a number lies beyond every threshold.
        own: the reference; infinite values count as such.
        level: share of the reference's rows beyond; `tail_level` by default.

    Returns:
        See `Tail`.

    Raises:
        ValueError: no rows or columns, other columns, a reference with values that are
            not numbers, or a level outside of (0, 0.5].
    """
    first, second = (np.asarray(v, np.float64) for v in (x, own))
    if first.ndim != 2 or second.ndim != 2 or not first.size * second.size:
        raise ValueError(
            f"samples of shapes {first.shape} and {second.shape}: expected [rows, "
            "features] each, with at least one of both"
        )
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"samples of {first.shape[1]} and {second.shape[1]} columns: expected "
            "equally many"
        )
    if np.isnan(second).any():
        raise ValueError(
            "the reference has values that are not numbers: leave them out"
        )
    level = tail_level(len(second)) if level is None else level
    if not 0 < level <= 0.5:
        raise ValueError(f"level={level}: expected above 0 and at most 0.5")
    beyond = min(max(round(level * len(second)), 1), len(second) - 1)
    ranked = np.sort(second, axis=0)
    low, high = ranked[beyond], ranked[len(second) - 1 - beyond]
    # [upper, columns]
    there = np.stack([~(first >= low), ~(first <= high)]).sum(axis=1)
    known = np.stack([second < low, second > high]).sum(axis=1)
    shares = (there + 0.5) / (len(first) + 1), (known + 0.5) / (len(second) + 1)
    gaps = np.log(shares[0]) - np.log(shares[1])
    upper, column = np.unravel_index(np.argmax(np.abs(gaps)), gaps.shape)
    counts = there[upper, column], known[upper, column]
    return Tail(
        factor=math.exp(abs(float(gaps[upper, column]))),
        log_error=math.sqrt(sum(1 / (float(count) + 0.5) for count in counts)),
        column=int(column),
        upper=bool(upper),
        often=bool(gaps[upper, column] > 0),
    )


class Spread(NamedTuple):
    """Spreads of a sample given conditions, over those of the reference.

    Attributes:
        median: over all conditions and columns; below 1 the sample is too narrow.
        worst_condition: of the conditions' medians over columns the one farthest from
            1, as a factor.
        worst_column: of the columns' medians over conditions, likewise.
        column: which that is.
        conditions: how many there are.
    """

    median: float
    worst_condition: float
    worst_column: float
    column: int
    conditions: int


def spread_ratio(x: Given, own: OwnGiven) -> Spread | None:
    """How wide the draws for one condition are, against the reference's for it.

    The spread is the standard deviation over the draws of one condition and column. A
    sampler that gives the mean, or one draw again and again, is near 0 here, whatever
    its draws over all conditions look like.

    Args:
        x: draws of the sample; rows with a value that is not finite are left out.
        own: draws of the reference for the same conditions.

    Returns:
        See `Spread`; None where no column of the reference has a spread. A column
        that only the reference does not spread in counts as infinitely wide.

    Raises:
        ValueError: other conditions or columns, or fewer than two draws.
    """
    first, second = (np.asarray(v, np.float64) for v in (x, own))
    shapes = first.shape, second.shape
    if {first.ndim, second.ndim} != {3} or shapes[0][::2] != shapes[1][::2]:
        raise ValueError(
            f"samples of shapes {shapes[0]} and {shapes[1]}: expected [conditions, "
            "draws, features] of the same conditions and features"
        )
    if min(shapes[0][1], shapes[1][1]) < 2:
        raise ValueError(
            f"{shapes[0][1]} and {shapes[1][1]} draws a condition: expected at least 2"
        )
    finite = np.abs(np.where(np.isfinite(second), second, 0.0))
    rounding = ROUNDING * finite.max(axis=(0, 1))
    mine, theirs = _spreads(first, rounding), _spreads(second, rounding)
    # What is constant for both agrees.
    known = np.isfinite(mine) & np.isfinite(theirs) & ((mine > 0) | (theirs > 0))
    if not (theirs[known] > 0).any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(known, mine / theirs, np.nan)
    by_condition = _medians(ratios, axis=1)
    by_column = _medians(ratios, axis=0)
    column = _farthest(by_column)
    return Spread(
        float(np.median(ratios[known])),
        float(by_condition[_farthest(by_condition)]),
        float(by_column[column]),
        column,
        len(ratios),
    )


def _spreads(draws: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """`[conditions, features]`, nan where fewer than two draws are finite.

    What is no wider than rounding is constant.
    """
    kept = np.isfinite(draws).all(axis=2, keepdims=True)
    count = kept.sum(axis=1)
    rows = np.where(kept, draws, 0.0)
    mean = rows.sum(axis=1) / np.maximum(count, 1)
    squares = np.where(kept, rows - mean[:, None], 0.0) ** 2
    found = np.sqrt(squares.sum(axis=1) / np.maximum(count - 1, 1))
    found = np.where(found > rounding, found, 0.0)
    return np.where(count > 1, found, np.nan)


def _medians(ratios: np.ndarray, axis: int) -> np.ndarray:
    """Medians of what is known along an axis; nan where nothing is."""
    lines = np.moveaxis(ratios, axis, -1)
    return np.array(
        [
            np.median(line[~np.isnan(line)]) if not np.isnan(line).all() else np.nan
            for line in lines
        ]
    )


def _farthest(ratios: np.ndarray) -> int:
    """Index of the ratio farthest from 1, as a factor."""
    with np.errstate(divide="ignore"):
        gaps = np.abs(np.log(ratios))
    return int(np.argmax(np.where(np.isnan(gaps), -1.0, gaps)))
