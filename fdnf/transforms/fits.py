"""Each kind of column fitted to its training rows."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdnf.transforms import rows as of_rows
from fdnf.transforms.columns import MOST_STEPS, Column
from fdnf.transforms.rows import Rows


def _standardised(rows: Rows, column: Column) -> Column:
    """The column with mean and spread of its w; noise on whole numbers is fixed."""
    s = column.steps(rows.x)
    if column.whole:
        s = s + np.random.default_rng(0).random(len(s))
    w = column.to_line((s + column.shift) / column.width)
    mean, std = of_rows.moments(w, rows.weights)
    if not std > 0 or not math.isfinite(std):
        raise rows.fault(
            f"as {column.kind} its values are too close together to be told apart:"
            " subtract the larger part before saving"
        )
    return dataclasses.replace(column, mean=mean, std=std)


def _none(rows: Rows) -> tuple[Column, str]:
    return Column(rows.name, "none"), "as it is"


def _standardise(rows: Rows) -> tuple[Column, str]:
    # From the mean, so that squares of large numbers do not drown a small spread.
    mean, std = of_rows.moments(rows.x, rows.weights)
    column = Column(rows.name, "standardise", origin=mean)
    return _standardised(rows, column), f"mean {mean:.6g}, spread {std:.3g}"


def _log(rows: Rows, low: float = 0.0, offset: float = 0.0) -> tuple[Column, str]:
    bad = rows.x < low if offset > 0 else rows.x <= low
    if bad.any():
        needed = f"of at least {low:g}" if offset > 0 else f"above {low:g}"
        raise rows.fault(
            f"log needs values {needed}, but {int(bad.sum()):,} of {len(rows.x):,} rows"
            f" have not, the least is {rows.ends[0]:.6g}: give the end it has as `low`,"
            " an `offset` that is added before the logarithm, or take asinh"
        )
    column = Column(rows.name, "log", origin=low - offset, low=low)
    said = f"log of {offset:.3g} more; " if offset else ""
    return _standardised(rows, column), f"{said}samples are above {low:g}"


def _box(
    rows: Rows,
    low: float | None = None,
    high: float | None = None,
    margin: float | None = None,
) -> tuple[Column, str]:
    found = of_rows.piled(rows) or of_rows.widened(rows)
    low = found[0] if low is None else low
    high = found[1] if high is None else high
    least, most = rows.ends
    outside = int(((rows.x < low) | (rows.x > high)).sum())
    if outside:
        raise rows.fault(
            f"{outside:,} of {len(rows.x):,} rows are outside the box from {low:.10g}"
            f" to {high:.10g}: they go from {least:.10g} to {most:.10g}; give its `low`"
            " and `high`"
        )
    column = Column(rows.name, "box", origin=low, unit=high - low, low=low, high=high)
    column = dataclasses.replace(column, margin=_margin(rows, column, margin))
    return _standardised(rows, column), f"samples are from {low:.6g} to {high:.6g}"


def _margin(rows: Rows, column: Column, told: float | None = None) -> float:
    """So small that the rows nearest to an end are not pressed against it."""
    if told is not None:
        if not 0 <= told < 0.5:
            raise rows.fault(f"margin={told!r}; expected from 0 to below 0.5")
        return told
    s = column.steps(rows.x)
    near = of_rows.quantile(np.minimum(s, 1 - s), rows.weights, [0.01])[0]
    # Rows at the very end: they would stand alone far out.
    return float(np.clip(0.1 * near, 1e-6, 1e-3)) if near > 0 else 1e-2


def _asinh(
    rows: Rows, centre: float | None = None, scale: float | None = None
) -> tuple[Column, str]:
    found = of_rows.robust(rows)
    centre = found[0] if centre is None else centre
    scale = found[1] if scale is None else scale
    column = Column(rows.name, "asinh", origin=centre, unit=scale)
    return _standardised(rows, column), f"centre {centre:.6g}, scale {scale:.3g}"


def _integer(
    rows: Rows,
    step: float = 1.0,
    then: str | None = None,
    low: float | None = None,
    high: float | None = None,
) -> tuple[Column, str]:
    least, most = rows.ends
    # Whole numbers count from 0, multiples of a step from the least.
    origin = least if low is None else low
    probe = Column(rows.name, "integer", "standardise", origin=origin, unit=step)
    bad, _ = probe.fault(rows.x)
    if (most - least) / step > MOST_STEPS / 2:
        raise rows.fault(
            f"goes from {least:.10g} to {most:.10g} in steps of {step:g}, more than"
            f" {MOST_STEPS // 2:,}: noise of one step would not show; take standardise"
            " or log"
        )
    if bad.any():
        first = int(np.argmax(bad))
        named = "whole" if step == 1 else f"{origin:.10g} and a multiple of {step:.10g}"
        raise rows.fault(
            f"is not {named}: {rows.x[first]:.10g} ({int(bad.sum()):,} of"
            f" {len(rows.x):,} rows); give its `step`, or take standardise"
        )
    for end, outside in ((low, rows.x < origin), (high, rows.x > (high or 0.0))):
        if end is not None and outside.any():
            raise rows.fault(
                f"{int(outside.sum()):,} rows are beyond {end:.10g}: they go from"
                f" {least:.10g} to {most:.10g}"
            )
    given = then is not None
    then = then or _then(rows, step)
    top = most if high is None else high
    extra: dict[str, Any] = {}
    if then == "box":
        count = round((top - origin) / step) + 1
        extra = {"width": float(count), "margin": 1e-4}
        extra |= {"low": origin, "high": origin + step * (count - 1)}
    elif then == "log":
        # Counts start at 0, though the rows here may not.
        if low is None and 0 < least < 0.1 * most and (least / step).is_integer():
            origin = 0.0
        extra = {"shift": 1.0, "low": origin, "high": high}
    else:
        if low is None and least >= 0:
            # What is never negative is not made so.
            low = least - step * math.floor(least / step + 1e-6)
        extra = {"low": low, "high": high}
        centre, scale = of_rows.robust(rows)
        origin = origin + step * round((centre - origin) / step)
        if then == "asinh":
            extra["width"] = max(scale / step, 1.0)
    column = Column(rows.name, "integer", then, origin, step, **extra)
    noise = f"noise of one step, then {then}"
    return _standardised(rows, column), noise + (" as told" if given else "")


def _then(rows: Rows, step: float) -> str:
    """What follows the noise on whole numbers."""
    low, high = rows.ends
    count = round((high - low) / step) + 1
    least = rows.weights[rows.x == low].sum(), rows.weights[rows.x == high].sum()
    if min(least) >= max(of_rows.PILED, 0.25 / count):
        return "box"
    counts = rows._replace(x=(rows.x - low) / step + 0.5)
    if of_rows.log_helps(counts, 1.0):
        return "log"
    return "asinh" if of_rows.heavy(counts) else "standardise"


def _periodic(
    rows: Rows, period: float | None = None, low: float = 0.0, cut: float | None = None
) -> tuple[Column, str]:
    if period is None:
        raise rows.fault(
            'periodic needs its period: {"kind": "periodic", "period": 360}'
        )
    where = "as told"
    if cut is None:
        cut, where = _sparsest(rows, period, low), "where rows are sparsest"
    column = Column(
        rows.name,
        "periodic",
        origin=cut,
        unit=period,
        low=low,
        high=low + period,
    )
    column = dataclasses.replace(column, margin=_margin(rows, column))
    return (
        _standardised(rows, column),
        f"period {period:g} from {low:g}, cut at {cut:.4g}, {where}",
    )


def _sparsest(rows: Rows, period: float, low: float) -> float:
    """The middle of the longest stretch of the circle with the fewest rows."""
    bins = int(np.clip(len(rows.x) // 50, 8, 72))
    at = np.mod(rows.x - low, period) / period
    place = np.minimum((at * bins).astype(int), bins - 1)
    mass = np.bincount(place, rows.weights, bins)
    smooth = mass + 0.5 * (np.roll(mass, 1) + np.roll(mass, -1))
    least = smooth <= smooth.min() + 1e-12
    if least.all():
        return low
    # From a bin that is none of them, so that no stretch is cut in two.
    start = int(np.argmin(least))
    turned = np.roll(least, -start)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], turned.astype(int), [0]])))
    first, last = edges[::2], edges[1::2]
    longest = int(np.argmax(last - first))
    middle = start + 0.5 * (first[longest] + last[longest])
    return low + period * float(np.mod(middle / bins, 1.0))


# Of a sparse column in units of its least value: what is added before the logarithm,
# so that the noise on 0 is about as wide as what is above; the gap between the two, as
# wide as the noise; and the least spread of its logarithm. A cell that is hardly ever
# hit would be far out where it is.
OFFSET, GAP, NARROWEST = 0.25, 0.5, 0.5


def _sparse(
    rows: Rows, least: float | None = None, gap: float = GAP
) -> tuple[Column, str]:
    above = rows.x[rows.x > 0]
    if not len(above) or (rows.x < 0).any():
        raise rows.fault(
            f"sparse needs zeros and values above: they go from {rows.ends[0]:.6g} to"
            f" {rows.ends[1]:.6g}"
        )
    # With room for rows that are not here.
    least = 0.5 * float(above.min()) if least is None else least
    if not 0 <= gap < 1:
        raise rows.fault(f"gap={gap!r}; expected from 0 to below 1")
    if (below := int((above < least * (1 - 1e-6)).sum())) > 0:
        raise rows.fault(
            f"{below:,} rows are between 0 and least={least:.6g}: set them to 0, or"
            " give a smaller `least`"
        )
    (column,) = sparse((rows.name,), rows.x[:, None], least, gap, rows.weights)
    share = float(rows.weights @ (rows.x == 0))
    return column, f"0 in {share:.0%} of the rows, else from {least:.3g} up"


def sparse(
    names: Sequence[str],
    values: np.ndarray,
    least: float,
    gap: float = GAP,
    weights: np.ndarray | None = None,
) -> tuple[Column, ...]:
    """Columns that are 0 or at least `least`, as the cells of a calorimeter.

    Args:
      names: of the columns.
      values: training rows, `[rows, columns]`.
      least: the least value that is not 0, in the user's units.
      gap: below it, as a fraction of it, see `Column`.
      weights: of the rows, of sum 1; None for equal ones.

    Returns:
      The columns; one that is always 0 in these rows has its place too.
    """
    found, rng = [], np.random.default_rng(0)
    even = np.full(len(values), 1 / len(values)) if weights is None else weights
    for name, x in zip(names, np.asarray(values).T, strict=True):
        column = Column(name, "sparse", unit=least, shift=OFFSET, gap=gap)
        t = column.steps(x)
        t = np.where(t > 0, t, (1 - gap) * rng.random(len(t)))
        mean, std = of_rows.moments(column.to_line(t + column.shift), even)
        std = max(std, NARROWEST)
        found.append(dataclasses.replace(column, mean=mean, std=std))
    return tuple(found)


FITS: dict[str, Callable[..., tuple[Column, str]]] = {
    "none": _none,
    "standardise": _standardise,
    "log": _log,
    "box": _box,
    "asinh": _asinh,
    "integer": _integer,
    "periodic": _periodic,
    "sparse": _sparse,
}
