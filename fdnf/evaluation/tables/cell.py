"""From a number to the text of a cell: the one place where numbers become text."""

import math
from typing import NamedTuple

MISSING = "-"
# From here on a number is written with a power of ten.
LARGE = 1e5


class Number(NamedTuple):
    """A cell that is a number; `text` makes its text.

    Attributes:
        value: the mean, or the median of times; None of what was not measured.
        half_width: of the 95 % interval over the table's unit; None without.
        n: seeds or items behind it; None where nobody asks.
        of: how many there would be, those that are not finite included.
        se: a standard error over examples.
        low: lower end of a spread that is no interval of a mean.
        high: upper end.
        digits: decimals.
        signed: whether the sign is printed, as of differences.
        star: whether an interval leaves out zero.
        form: "number", "count", "thousands", "millions", "times", "spread", "range" or
            "interval"; see `text`.
    """

    value: float | None
    half_width: float | None = None
    n: int | None = None
    of: int | None = None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    digits: int = 3
    signed: bool = False
    star: bool = False
    form: str = "number"


Cell = str | Number


def text(cell: Cell) -> str:
    """What is printed.

    By `form`: "number" is "1.234 ± 0.056 (se 0.010)" or "1.234 (n=1)"; "count"
    "1,234"; "thousands" and "millions" that many, with a decimal or more; "times" a
    ratio of about three digits, "2.31x"; "spread" a median and its tenths, "1.23
    (1.20-1.31)"; "range" likewise with "to"; "interval" "1.23 [1.20, 1.31]".
    """
    if isinstance(cell, str):
        return cell
    if cell.value is None:
        return MISSING
    value = float(cell.value)
    if not math.isfinite(value):
        return str(value) + _left_out(cell)
    return _FORMS[cell.form](cell, value)


def decimals(values: list[float], least: int = 3, most: int = 8) -> int:
    """Decimals that give the typical one of some values three digits."""
    sizes = sorted(abs(v) for v in values if v and math.isfinite(v))
    if not sizes:
        return least
    middle = len(sizes) // 2
    typical = (sizes[middle] + sizes[-middle - 1]) / 2
    return min(max(least, 2 - math.floor(math.log10(typical))), most)


def ratio(first: float | None, second: float | None) -> Number:
    """How many times the second the first is."""
    if first is None or not second:
        return Number(None, form="times")
    return Number(first / second, form="times")


def _number(cell: Number, value: float) -> str:
    mean = _float(value, cell.digits, cell.signed)
    if max(abs(value), cell.half_width or 0) >= LARGE:
        mean = f"{value:+.2e}" if cell.signed else f"{value:.2e}"
    inside = []
    if cell.half_width is not None:
        large = max(abs(value), cell.half_width) >= LARGE
        half = f"{cell.half_width:.{cell.digits}f}"
        mean += f" ± {cell.half_width:.1e}" if large else f" ± {half}"
    elif cell.n == 1:
        inside.append("n=1")
    if cell.se is not None:
        se = f"{cell.se:.1e}" if cell.se >= LARGE else f"{cell.se:.{cell.digits}f}"
        inside.append(f"se {se}")
    whole = mean + (f" ({', '.join(inside)})" if inside else "") + _left_out(cell)
    return f"{whole} *" if cell.star else whole


def _left_out(cell: Number) -> str:
    if cell.n is None or cell.of is None or cell.n == cell.of:
        return ""
    return f" ({cell.n} of {cell.of})"


def _float(value: float, digits: int, signed: bool) -> str:
    # What the printed digits do not tell from 0 has no sign.
    value = value if round(value, digits) else 0.0
    return f"{value:+.{digits}f}" if signed and value else f"{value:.{digits}f}"


def _count(cell: Number, value: float) -> str:
    del cell
    return f"{value:,.0f}"


def _thousands(cell: Number, value: float) -> str:
    del cell
    return f"{value / 1e3:,.1f}"


def _millions(cell: Number, value: float) -> str:
    del cell
    return f"{value / 1e6:.{2 if value >= 1e6 else 4}f}"


def _times(cell: Number, value: float) -> str:
    del cell
    return f"{value:.2f}x" if value < 100 else f"{value:,.0f}x"


def _spread(cell: Number, value: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 2
    low = value if cell.low is None else cell.low
    high = value if cell.high is None else cell.high
    middle, first, last = (f"{v:,.{min(digits, 4)}f}" for v in (value, low, high))
    return middle if cell.low is None else f"{middle} ({first}-{last})"


def _range(cell: Number, value: float) -> str:
    # Below that sums of float64 have no digits left.
    middle, low, high = (
        f"{v:,.0f}" if v >= 99.5 else f"{v:.2g}" if v >= 1e-12 else "0"
        for v in (value, cell.low or 0.0, cell.high or 0.0)
    )
    return f"{middle} ({low} to {high})"


def _interval(cell: Number, value: float) -> str:
    if cell.low is None or cell.high is None or abs(value) >= LARGE:
        return _number(cell, value)
    digits = cell.digits
    return f"{value:.{digits}f} [{cell.low:.{digits}f}, {cell.high:.{digits}f}]"


_FORMS = {
    "number": _number,
    "count": _count,
    "thousands": _thousands,
    "millions": _millions,
    "times": _times,
    "spread": _spread,
    "range": _range,
    "interval": _interval,
}
