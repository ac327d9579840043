"""From scores of super-resolution to the cells of tables."""

from collections.abc import Sequence
from typing import NamedTuple

from fdnf.evaluation.core.sr_records import BICUBIC, PRETRAINED, TEACHER, Record
from fdnf.evaluation.scorers.sr_judge import DIVERSITY, LR_PSNR, PSNR, SSIM
from fdnf.evaluation.tables import cells, intervals, sr_summary
from fdnf.evaluation.tables.intervals import Interval

LABELS = {BICUBIC: "Bicubic", PRETRAINED: "RRDB", TEACHER: "SRFlow"}

Group = Sequence[Record]


class Column(NamedTuple):
    """A metric with its heading, decimals, and whether more is better."""

    heading: str
    metric: str | None
    digits: int
    rises: bool


def label(method: str) -> str:
    """A method as tables and pictures name it."""
    if method in LABELS:
        return LABELS[method]
    name = method.replace("_", " ").replace("srflow", "SRFlow")
    return name if "student" in name else f"Student {name}"


def columns(group: Group) -> list[Column]:
    """Those of table 1 that come of images."""
    name = group[0].perceptual
    distance = "LPIPS" if name is None or name.startswith("lpips_") else name
    return [
        Column("PSNR", PSNR, 2, True),
        Column("SSIM", SSIM, 3, True),
        Column(distance, name, 4, False),
        Column("LR-PSNR", LR_PSNR, 2, True),
        Column("Diversity", DIVERSITY, 4, True),
    ]


def heading(column: Column) -> str:
    """Heading with an arrow: up where more is better."""
    return f"{column.heading} {'↑' if column.rises else '↓'}"


def mean(group: Group, benchmark: str, column: Column) -> str:
    """Mean over images, its standard error, and the interval over several runs."""
    found = sr_summary.mean(group, benchmark, column.metric)
    if found is None:
        return cells.MISSING
    text = f"{found.mean:.{column.digits}f}"
    if found.standard_error is not None:
        text += f" ± {found.standard_error:.{column.digits}f}"
    if found.runs is not None and found.runs.half_width is not None:
        text += f" (runs ± {found.runs.half_width:.{column.digits}f})"
    return text


def signed(gap: Interval | None, digits: int) -> str:
    """A difference with its interval; a star marks one without 0."""
    if gap is None:
        return cells.MISSING
    star = " *" if gap.excludes_zero() else ""
    return intervals.render(gap, digits, signed=True) + star


def millions(parameters: int | None) -> str:
    """A number of parameters, in millions."""
    if parameters is None:
        return cells.MISSING
    digits = 2 if parameters >= 1e6 else 4
    return f"{parameters / 1e6:.{digits}f}"


def ratio(value: float | None) -> str:
    """A ratio with two decimals."""
    return cells.MISSING if value is None else f"{value:.2f}"


def times(value: float | None) -> str:
    """How many times, with three digits or so."""
    if value is None:
        return cells.MISSING
    if value < 1:
        return f"{value:.2g}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
