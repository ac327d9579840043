"""Figures of conditional densities of one number: PIT histograms, p(x | condition)."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from fdnf.evaluation.pictures import plotting
from fdnf.metrics import calibration

# Columns that are shown at most.
MOST = 6


def pit_histograms(
    values: Mapping[str, np.ndarray],
    path: str | pathlib.Path,
    *,
    names: Sequence[str],
    bins: int = 20,
    title: str = "",
) -> pathlib.Path:
    """Draw histograms of the PIT, a panel a column; flat is calibrated.

    The grey band is where 95 % of the bins of a uniform PIT are.

    Args:
        values: label to PIT [rows, columns].
        path: where to write.
        names: of the columns, of which the first six are shown.
        bins: of each histogram.
        title: above the figure.

    Returns:
        The path.

    Raises:
        ValueError: nothing to show.
    """
    if not values or not names:
        raise ValueError("no PIT values: expected at least one model and one column")
    shown = list(names)[:MOST]
    across = min(len(shown), 3)
    down = -(-len(shown) // across)
    colors, edges = plotting.colors(values), np.linspace(0, 1, bins + 1)
    with plotting.saved(path, 1.0 + 3.4 * across, 0.6 + 2.7 * down) as figure:
        panels = figure.subplots(down, across, squeeze=False).reshape(-1)
        for index, panel in enumerate(panels):
            if index >= len(shown):
                panel.set_axis_off()
                continue
            for number, (label, pit) in enumerate(values.items()):
                told = calibration.uniformity(pit[:, index], bins)
                if not number:
                    wide = 1.96 * told.error
                    panel.axhspan(1 - wide, 1 + wide, color="#E8E8E8", zorder=0)
                panel.stairs(
                    told.density,
                    edges,
                    label=f"{label}, KS {told.ks:.3f}",
                    color=colors[label],
                    linewidth=1.8,
                )
            panel.set_ylim(bottom=0)
            panel.set_xlabel(f"PIT of {shown[index]}")
            panel.legend(frameon=False, loc="lower center", fontsize=8)
        panels[0].set_ylabel("density")
        figure.suptitle(title, weight="bold", size=12)
    return pathlib.Path(path)


def conditional_densities(
    densities: Mapping[str, np.ndarray],
    at: np.ndarray,
    x: np.ndarray,
    path: str | pathlib.Path,
    *,
    name: str = "x",
    title: str = "",
) -> pathlib.Path:
    """Draw densities of one number given the conditions of rows, a panel a row.

    Args:
        densities: label to p(x | condition) [rows, points].
        at: the points [points].
        x: what the rows are, drawn as a line [rows].
        path: where to write.
        name: of the number.
        title: above the figure.

    Returns:
        The path.

    Raises:
        ValueError: densities of another shape than [rows, points].
    """
    shape = (len(x), len(at))
    wrong = {label: p.shape for label, p in densities.items() if p.shape != shape}
    if wrong or not densities:
        raise ValueError(f"densities of shapes {wrong}: expected at least one, {shape}")
    across = min(len(x), 3)
    down = -(-len(x) // across)
    colors = plotting.colors(densities)
    with plotting.saved(path, 1.0 + 3.2 * across, 0.6 + 2.2 * down) as figure:
        panels = figure.subplots(down, across, squeeze=False).reshape(-1)
        for index, panel in enumerate(panels):
            if index >= len(x):
                panel.set_axis_off()
                continue
            panel.axvline(x[index], color="#222222", linewidth=1.2, linestyle="--")
            for label, p in densities.items():
                panel.plot(at, p[index], label=label, color=colors[label])
            panel.set_ylim(bottom=0)
            panel.set_xlim(*_ends(densities, index, at, x[index]))
            panel.set_xlabel(name)
        panels[0].legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("density")
        figure.suptitle(title, weight="bold", size=12)
    return pathlib.Path(path)


def _ends(
    densities: Mapping[str, np.ndarray], row: int, at: np.ndarray, x: float
) -> tuple[float, float]:
    """Where there is something to see, of all densities and the row."""
    seen = [at[p[row] > 0.01 * p[row].max()] for p in densities.values()]
    known = np.concatenate([*seen, [x]])
    room = 0.05 * (known.max() - known.min()) or 0.5
    return known.min() - room, known.max() + room
