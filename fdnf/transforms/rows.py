"""A column's values with their weights, and what they say of its form."""

from typing import Any, NamedTuple

import numpy as np
from scipy import special

# Beyond them sums of squares, and what floats can tell apart, end.
_LARGEST = 1e150
# Values of a column that its type of numbers has to keep apart.
_VALUES = 256
# Ends that columns have by nature, where their values reach near to both.
_ENDS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 100.0))
# Of the rows in the outermost twentieth of a box on either side. A uniform column has
# 5 %, a normal one 0.03 %.
PILED = 0.01
# Skewness by quantiles from which a logarithm is tried, an exponential column's is 0.7;
# and what must be left of it at most.
_SKEWED, _LEFT = 0.5, 0.6
# Largest value over the median, of such a column.
_DECADES = 4.0
# Outer quantiles over inner ones, in units of a normal column's: Laplace 2, Student's t
# of three degrees of freedom 3.
_HEAVY = 2.2
# Standard deviation over that by quartiles from which outliers rule it.
_RULED = 5.0


class Rows(NamedTuple):
    """A column of the rows it is fitted to.

    Attributes:
      name: the column's.
      x: values, float64 `[rows]`, at least two different ones.
      weights: of the rows, of sum 1.
    """

    name: str
    x: np.ndarray
    weights: np.ndarray

    def quantile(self, *at: float) -> list[float]:
        """The values that so large parts of the rows are below."""
        return quantile(self.x, self.weights, at)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value."""
        return float(self.x.min()), float(self.x.max())

    def fault(self, said: str) -> ValueError:
        """An error that names the column."""
        return ValueError(f"column {self.name!r}: {said}")


def of(name: str, values: Any, weights: Any) -> Rows:
    """A column's rows, those of weight 0 left out.

    Raises:
      ValueError: for what no density can be of, and nothing can be learned from.
    """
    given = np.asarray(values)
    if given.ndim != 1:
        raise ValueError(f"column {name!r}: expected [rows], got {list(given.shape)}")
    if given.dtype.kind not in "fiub":
        seen = list(dict.fromkeys(str(value) for value in given[:1000]))
        raise ValueError(
            f"column {name!r} holds {given.dtype} ({', '.join(seen[:3])}, ...), no"
            " numbers: leave it out, or encode it, for a condition one column of 0 and"
            " 1 for each category"
        )
    x = given.astype(np.float64)
    bad = np.isnan(x)
    if bad.any():
        raise ValueError(
            f"column {name!r}: missing values in {int(bad.sum()):,} of {len(x):,} rows,"
            f" the first is row {int(np.argmax(bad))}: fill them, or drop these rows"
        )
    bad = np.isinf(x)
    if bad.any():
        raise ValueError(
            f"column {name!r}: infinite in {int(bad.sum()):,} of {len(x):,} rows, the"
            f" first is row {int(np.argmax(bad))}: remove these rows, or cut them off"
        )
    mass = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if mass.shape != x.shape or not (mass >= 0).all() or not np.isfinite(mass).all():
        raise ValueError(f"column {name!r}: expected one weight of at least 0 a row")
    x, mass = x[mass > 0], mass[mass > 0]
    if len(x) < 2:
        raise ValueError(f"column {name!r}: {len(x)} rows are too few")
    rows = Rows(name, x, mass / mass.sum())
    low, high = rows.ends
    if low == high:
        raise rows.fault(
            f"is constant, {low:.10g} in all {len(x):,} rows: it has no density; leave"
            " it out"
        )
    if max(-low, high) > _LARGEST:
        raise rows.fault(
            f"goes from {low:g} to {high:g}, beyond {_LARGEST:g}: give it in other"
            " units"
        )
    # Whole numbers are exact in their type.
    if given.dtype.kind == "f" and not (x == np.round(x)).all():
        step = float(np.spacing(np.asarray(max(-low, high), given.dtype)))
        if high - low < _VALUES * step:
            raise rows.fault(
                f"goes from {low:.17g} to {high:.17g}, of which {given.dtype} keeps"
                f" {1 + round((high - low) / step)} values: subtract the larger part"
                " before saving"
            )
    return rows


def piled(rows: Rows) -> tuple[float, float] | None:
    """The ends of a column that is bounded on both sides, as its rows show."""
    low, high = rows.ends
    # Up to the very ends: two peaks are no bounds.
    last = max(PILED / 5, 3 / len(rows.x))
    both = min(_shares(rows, low, high)) >= PILED
    both = both and min(_shares(rows, low, high, 0.01)) >= last
    for natural in _ENDS:
        if natural[0] <= low and high <= natural[1]:
            size = natural[1] - natural[0]
            if both and high - low >= 0.97 * size:
                return natural
            near = max(_shares(rows, *natural)) >= PILED
            if natural == (0.0, 1.0) and near and high - low > 0.5:
                return natural
    return widened(rows) if both else None


def _shares(
    rows: Rows, low: float, high: float, part: float = 0.05
) -> tuple[float, float]:
    """Of the rows, in the outermost part of a box on either side."""
    part *= high - low
    return (
        float(rows.weights[rows.x <= low + part].sum()),
        float(rows.weights[rows.x >= high - part].sum()),
    )


def widened(rows: Rows) -> tuple[float, float]:
    """The ends found, with room for rows that are not here: more where few are near."""
    low, high = rows.ends
    room = [
        (0.005 if share >= PILED else 0.1) * (high - low)
        for share in _shares(rows, low, high)
    ]
    # What is never negative is not made so.
    return max(low - room[0], 0.0 if low >= 0 else -np.inf), high + room[1]


def log_helps(rows: Rows, offset: float) -> bool:
    """Whether a skewed column is hardly skewed after the logarithm of offset more."""
    least, median, most = rows.quantile(0.01, 0.5, 0.99)
    if least + offset <= 0 or (most + offset) < _DECADES * (median + offset):
        return False
    before = _quantile_skewness(least, median, most)
    after = _quantile_skewness(*np.log(np.asarray([least, median, most]) + offset))
    return bool(before > _SKEWED and abs(after) < _LEFT * before)


def heavy(rows: Rows) -> str:
    """Why asinh is needed; "" if it is not."""
    tail = min(max(0.001, 5 / len(rows.x)), 0.01)
    least, first, last, most = rows.quantile(tail, 0.25, 0.75, 1 - tail)
    if last <= first:
        return ""
    normal = special.ndtri(tail) / special.ndtri(0.25)
    ratio = (most - least) / (last - first) / normal
    _, std = moments(rows.x, rows.weights)
    ruled = std / robust(rows)[1]
    if ratio <= _HEAVY and ruled <= _RULED:
        return ""
    before = _kurtosis(rows.x, rows.weights)
    centre, scale = robust(rows)
    after = _kurtosis(np.arcsinh((rows.x - centre) / scale), rows.weights)
    return f"heavy tails, kurtosis {before:.1f} -> {after:.1f}"


def offset_of(rows: Rows) -> float:
    """What is added to a column of which some rows are 0, before its logarithm."""
    above = rows.x > 0
    return 0.05 * quantile(rows.x[above], rows.weights[above], [0.5])[0]


def moments(x: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; of the rest, so that large numbers lose nothing."""
    first = float(x[0])
    rest = x - first
    mean = float(weights @ rest)
    std = float(np.sqrt(weights @ (rest - mean) ** 2))
    return first + mean, std


def _central(x: np.ndarray, weights: np.ndarray, power: int) -> float:
    mean, std = moments(x, weights)
    return float(weights @ ((x - mean) / std) ** power) if std > 0 else 0.0


def skewness(x: np.ndarray, weights: np.ndarray) -> float:
    """Third moment: 0 of a symmetrical column, 2 of an exponential one."""
    return _central(x, weights, 3)


def _kurtosis(x: np.ndarray, weights: np.ndarray) -> float:
    """Excess: 0 of a normal column."""
    return _central(x, weights, 4) - 3


def _quantile_skewness(least: float, median: float, most: float) -> float:
    """From -1 to 1; of no outlier's making."""
    return (most + least - 2 * median) / (most - least) if most > least else 0.0


def quantile(x: np.ndarray, weights: np.ndarray, at: Any) -> list[float]:
    """Values below which parts `at` of the weight are."""
    order = np.argsort(x)
    mass = weights[order]
    place = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    return [float(value) for value in np.interp(at, place, x[order])]


def robust(rows: Rows) -> tuple[float, float]:
    """Median, and the standard deviation of a normal column of the same quantiles.

    By quartiles; where half of the rows are one value by quantiles further out.
    """
    for tail in (0.25, 0.1, 0.01):
        low, median, high = rows.quantile(tail, 0.5, 1 - tail)
        if high > low:
            return median, (high - low) / (-2 * float(special.ndtri(tail)))
    return rows.quantile(0.5)[0], moments(rows.x, rows.weights)[1]
