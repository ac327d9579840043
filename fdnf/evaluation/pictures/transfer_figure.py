"""Densities of samples under the teacher, method by method."""

import pathlib
from collections.abc import Mapping

import numpy as np

from fdnf.evaluation.core.transfer_records import DATA, TEACHER
from fdnf.evaluation.pictures import plotting
from fdnf.evaluation.tables import transfer_cells

COLORS = {
    TEACHER: plotting.COLORS["teacher"],
    DATA: plotting.COLORS["data"],
    "kl": "#D55E00",
    "z": "#CC79A7",
    "x": "#009E73",
    "oracle": "#E69F00",
}
BINS = 60
# The axis ends this many widths of the bulk of the teacher's samples beyond it.
WIDTHS = 3.0


def histograms(
    log_probs: Mapping[str, np.ndarray],
    path: str | pathlib.Path,
    *,
    title: str = "",
) -> pathlib.Path:
    """Draws one panel a method, the teacher's own samples behind each.

    Samples beyond the axis are counted in the panel. Medians are dashed lines.

    Args:
        log_probs: method to `[rows]`, log p_T of its samples in nats; with TEACHER.
        path: where to write.
        title: above the panels.

    Returns:
        The path.

    Raises:
        ValueError: without the teacher's, or none of its values is finite.

    Reference: Huang et al. (2019), figure 2.
    """
    own = np.asarray(log_probs.get(TEACHER, ()), np.float64)
    if not np.isfinite(own).any():
        raise ValueError(
            f"log densities of {sorted(log_probs)}: expected finite ones of "
            f"{TEACHER!r}, against which the others are shown"
        )
    shown = {k: np.asarray(v, np.float64) for k, v in log_probs.items() if k != TEACHER}
    low, high = _ends(own, shown)
    edges = np.linspace(low, high, BINS + 1)
    colors = plotting.colors(shown) | COLORS
    panels = max(len(shown), 1)
    with plotting.saved(path, 7.2, 0.8 + 1.25 * panels) as figure:
        grid = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
        names = list(shown) or [TEACHER]
        for axes, method in zip(grid, names, strict=True):
            values = shown.get(method, own)
            axes.stairs(_share(own, edges), edges, fill=True, color="#C9DCEA")
            axes.axvline(_median(own), color=COLORS[TEACHER], linestyle="--", lw=1)
            color = colors[method]
            axes.stairs(_share(values, edges), edges, color=color, linewidth=1.6)
            middle = _median(values)
            if low <= middle <= high:
                axes.axvline(middle, color=color, linestyle="--", lw=1.4)
            name = transfer_cells.label(method)
            axes.set_title(f"{name}{_aside(values, middle, low, high)}", color=color)
            axes.set_yticks([])
            axes.set_ylim(bottom=0)
            axes.grid(visible=False, axis="y")
        grid[-1].set_xlim(low, high)
        mine = _aside(own, _median(own), low, high).removeprefix(": ")
        grid[-1].set_xlabel(
            "log-likelihood under the teacher (nats), medians dashed\n"
            f"filled: the teacher's own samples, {mine}"
        )
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return pathlib.Path(path)


def _ends(own: np.ndarray, shown: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Ends of the axis: where the teacher's samples are, and the others if near."""
    finite = own[np.isfinite(own)]
    low, high = np.quantile(finite, [0.05, 0.99])
    width = max(high - low, 1e-6)
    ends = [low - 0.1 * width, high + 0.1 * width]
    for values in shown.values():
        there = values[np.isfinite(values)]
        if len(there):
            theirs = np.quantile(there, [0.01, 0.99])
            ends = [min(ends[0], theirs[0]), max(ends[1], theirs[1])]
    reach = WIDTHS * width
    return float(max(ends[0], low - reach)), float(min(ends[1], high + reach))


def _share(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of all rows in each bin, also where some are beyond the axis."""
    counts, _ = np.histogram(values[np.isfinite(values)], edges)
    return counts / max(len(values), 1)


def _median(values: np.ndarray) -> float:
    ranked = np.where(np.isnan(values), -np.inf, values)
    return float(np.quantile(ranked, 0.5, method="higher"))


def _aside(values: np.ndarray, middle: float, low: float, high: float) -> str:
    """What the panel does not show, and the median."""
    below = 100 * float(np.mean(~(values >= low)))
    above = 100 * float(np.mean(values > high))
    told = [f"median {middle:,.1f}" if abs(middle) < 1e5 else f"median {middle:.1e}"]
    told += [f"{below:.1f} % below the axis"] if below >= 0.05 else []
    told += [f"{above:.1f} % above it"] if above >= 0.05 else []
    return ": " + ", ".join(told)
