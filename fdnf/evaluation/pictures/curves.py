"""Training curves: as PNG of a study, as SVG of a report.

matplotlib is imported when a figure is drawn, so that importing this module costs
nothing. The vertical axis shows what runs do after their first tenth, whose values
would flatten the rest.
"""

import io
import logging
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fdnf.evaluation.pictures import plotting
from fdnf.train.writers import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Arrays of numpy or jax, or sequences of numbers.
Array = Any
# Points drawn of one line of an SVG.
POINTS = 120
STYLES = {"solid": "-", "dashed": "--", "dotted": ":"}
# Inches: as wide as a phone at 96 pixels an inch, so that its text keeps its size.
_WIDTH, _HEIGHT = 4.4, 2.6
# Text stays text, and the same curves give the same bytes.
_SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "fdnf"}

_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """A line of an SVG: steps and values [n], of which some may be nan; its look."""

    steps: np.ndarray
    values: np.ndarray
    color: str
    style: str = "solid"


def training_curves(
    curves: Mapping[str, tuple[Array, Array]],
    path: str | pathlib.Path,
    *,
    ylabel: str = "validation log-likelihood (nats)",
    title: str = "",
) -> pathlib.Path:
    """Draw a quantity over training steps, one labelled line a run.

    Args:
        curves: label to steps [n] and values [n], or [seeds, n], of which the mean
            is drawn as a line and the range over seeds as a band.
        path: where to write.
        ylabel: the quantity with its unit.
        title: above the axes.

    Returns:
        The path.

    Raises:
        ValueError: no curve, or shapes that do not match.
    """
    if not curves:
        raise ValueError("curves is empty: expected at least one label")
    drawn = {label: _curve(label, *curve) for label, curve in curves.items()}
    colors = plotting.colors(drawn)
    with plotting.saved(path, 7.2, 4.0) as figure:
        axes = figure.subplots()
        ends = {}
        for label, (steps, values) in drawn.items():
            color = colors[label]
            mean = values.mean(axis=0)
            axes.plot(steps, mean, color=color, linewidth=1.8)
            if len(values) > 1:
                band = values.min(axis=0), values.max(axis=0)
                axes.fill_between(steps, *band, color=color, alpha=0.18, linewidth=0)
            finite = np.flatnonzero(np.isfinite(mean))
            if finite.size:
                ends[label] = (mean[finite[-1]], color)
        _frame(axes, list(drawn.values()), ylabel)
        axes.set_xlabel("training step")
        axes.set_title(title)
        plotting.label_ends(figure, axes, ends)
    return pathlib.Path(path)


def of_runs(
    path: pathlib.Path,
    where: Mapping[str, pathlib.Path],
    key: str,
    *,
    ylabel: str,
    title: str = "",
) -> list[pathlib.Path]:
    """Draws the curves of work directories that have a log; none without any.

    Args:
        path: where to write.
        where: label to directory.
        key: of the log; runs without it, such as those that learn to sample, whose
            losses are in other units, are left out.
        ylabel: the quantity with its unit.
        title: above the axes.

    Returns:
        The files, one or none.
    """
    curves = {}
    for label, folder in where.items():
        rows = [row for row in read_log(folder) if key in row]
        if rows:
            values = np.array([row[key] for row in rows]).T
            curves[label] = (np.array([row["step"] for row in rows]), values)
    if not curves:
        path.unlink(missing_ok=True)  # One of another time would be taken for it.
        _log.warning("%s is not drawn: no log has rows with %s", path, key)
        return []
    return [training_curves(curves, path, ylabel=ylabel, title=title)]


def values(rows: Iterable[Mapping[str, Any]], key: str, index: int) -> np.ndarray:
    """One run's values in the rows of a log that may hold several; nan where none is.

    Args:
        rows: of the log.
        key: of the quantity.
        index: of the run among those of the log.
    """
    found = []
    for row in rows:
        value = row.get(key)
        if isinstance(value, list):
            value = value[index] if index < len(value) else None
        found.append(value if isinstance(value, int | float) else np.nan)
    return np.array(found, np.float64)


def svg(panels: Mapping[str, Sequence[Line]]) -> bytes:
    """Draws panels below each other, every run a thin line.

    Args:
        panels: label of the vertical axis to lines; those without a finite value are
            left out.

    Returns:
        The picture; the same for the same lines.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shown = {
        label: lines
        for label, lines in panels.items()
        if any(np.isfinite(line.values).any() for line in lines)
    }
    text = io.BytesIO()
    with matplotlib.rc_context(plotting.STYLE | _SVG):
        size = _WIDTH, _HEIGHT * max(len(shown), 1)
        figure = Figure(figsize=size, layout="constrained")
        for place, (label, lines) in enumerate(shown.items()):
            axes = figure.add_subplot(len(shown), 1, place + 1)
            for line in lines:
                axes.plot(
                    *thinned(line.steps, line.values, POINTS),
                    color=line.color,
                    linestyle=STYLES[line.style],
                    linewidth=1.1,
                    alpha=0.75,
                )
            _frame(axes, [(line.steps, line.values[None]) for line in lines], label)
            axes.locator_params(axis="x", nbins=5)
        if figure.axes:
            figure.axes[-1].set_xlabel("training step")
        # A date would make another file of the same runs.
        meta = {"Date": None, "Creator": None}
        figure.savefig(text, format="svg", metadata=meta, transparent=True)
    return text.getvalue()


def looks(labels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and line style of each label; a colour that comes again is dashed."""
    styles = list(STYLES)
    used: dict[str, int] = {}
    found = {}
    for label, color in plotting.colors(labels).items():
        found[label] = color, styles[used.get(color, 0) % len(styles)]
        used[color] = used.get(color, 0) + 1
    return found


def thinned(
    steps: np.ndarray, values: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` of the finite points, first and last among them."""
    steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
    if len(steps) <= most:
        return steps, values
    kept = np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))
    return steps[kept], values[kept]


def _curve(label: str, steps: Array, values: Array) -> tuple[np.ndarray, np.ndarray]:
    at, runs = np.asarray(steps), np.atleast_2d(np.asarray(values, np.float64))
    if at.ndim != 1 or not at.size or runs.shape[1:] != at.shape:
        raise ValueError(
            f"curve {label!r} has steps {at.shape} and values {np.shape(values)}: "
            "expected [n] and [n] or [seeds, n], with n at least 1"
        )
    return at, runs


def _frame(
    axes: "Axes", drawn: Sequence[tuple[np.ndarray, np.ndarray]], ylabel: str
) -> None:
    """Limits and labels, for steps [n] and values [seeds, n] of each line."""
    axes.set_ylim(*late_range(drawn))
    axes.set_xlim(0, max(steps.max() for steps, _ in drawn))
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")


def late_range(
    drawn: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[float | None, float | None]:
    """Limits of the vertical axis: what is seen after the first tenth of the steps.

    Args:
        drawn: steps [n] and values [seeds, n] of each line.
    """
    late = [
        values[:, steps >= steps[0] + 0.1 * (steps[-1] - steps[0])].ravel()
        for steps, values in drawn
    ]
    seen = np.concatenate(late)
    seen = seen[np.isfinite(seen)]
    if not seen.size or seen.min() == seen.max():
        return None, None
    # Some exploded values must not take the axis either.
    low, high = np.quantile(seen, (0.05, 0.95))
    low = max(seen.min(), low - (high - low))
    high = min(seen.max(), high + (high - low))
    return low - 0.05 * (high - low), high + 0.05 * (high - low)
