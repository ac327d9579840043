"""Figures of showers: profiles, response, sparsity and cells, side by side."""

import pathlib
from collections.abc import Mapping

import numpy as np

from fdnf.evaluation.pictures import plotting
from fdnf.metrics.showers import Cells, Profiles, profiles


def high_level(
    shown: Mapping[str, tuple[np.ndarray, np.ndarray]],
    where: Cells,
    path: str | pathlib.Path,
    *,
    title: str = "",
) -> pathlib.Path:
    """Draw six panels, in each all samples; the data filled, or broad and grey.

    Mean energy in the layers, and within a distance from the axis where there are
    several rings, over that of the particle; and histograms of the response, the mean
    depth, the share of empty cells, and the energy of a cell.

    Args:
        shown: label to energies of cells [showers, cells], and of the particles
            [showers], in GeV; the data first.
        where: the cells' places.
        path: where to write.
        title: above the figure.

    Returns:
        The path.

    Raises:
        ValueError: nothing to show, or cells that have no place.
    """
    if not shown:
        raise ValueError("no showers: expected at least the data")
    made = {label: profiles(*given, where) for label, given in shown.items()}
    first = next(iter(made.values()))
    colors = plotting.colors(made) | {next(iter(made)): "#222222"}
    cells = {label: given[0][given[0] > 0] for label, given in shown.items()}
    radii = np.unique(where.radius)
    with plotting.saved(path, 11.0, 6.2) as figure:
        panels = figure.subplots(2, 3).reshape(-1)
        for panel, part, at, name in (
            (panels[0], "layers", np.arange(first.layers.shape[1]), "layer"),
            (panels[1], "rings", radii, "distance from the axis (Moliere radii)"),
        ):
            if len(at) == 1:
                panel.set_axis_off()
                continue
            for label, each in made.items():
                mean = getattr(each, part).mean(axis=0)
                # Rings of other layers lie between, so that their sum is smooth only.
                mean = np.cumsum(mean) if part == "rings" else mean
                panel.plot(at, mean, **_line(label, made, colors))
            panel.set_xlabel(name)
            within = " within" if part == "rings" else ""
            panel.set_ylabel(f"mean share of the energy{within}")
        for panel, part, name in (
            (panels[2], "response", "energy in all cells / that of the particle"),
            (panels[3], "depth", "mean layer"),
            (panels[4], "empty", "share of empty cells"),
        ):
            values = {label: getattr(each, part) for label, each in made.items()}
            _histograms(panel, values, colors)
            panel.set_xlabel(name)
        logs = {label: np.log10(each) for label, each in cells.items() if len(each)}
        if logs:
            _histograms(panels[5], logs, colors)
        panels[5].set_xlabel("log10 of the energy in a cell (GeV)")
        panels[0].legend(frameon=False)
        figure.suptitle(title, weight="bold", size=12)
    return pathlib.Path(path)


def _line(label: str, made: Mapping[str, Profiles], colors: Mapping[str, str]):
    """The data are a broad line below the others."""
    data = label == next(iter(made))
    return {
        "label": label,
        "color": "#BBBBBB" if data else colors[label],
        "linewidth": 5.0 if data else 1.6,
        "zorder": 1 if data else 2,
    }


def _histograms(
    panel, values: Mapping[str, np.ndarray], colors: Mapping[str, str], bins: int = 50
) -> None:
    """Densities over the range of the first; what is beyond stands in the last bins."""
    data = next(iter(values.values()))
    low, high = np.quantile(data, (0.001, 0.999))
    room = 0.1 * (high - low) or 0.5
    edges = np.linspace(low - room, high + room, bins + 1)
    for index, (label, each) in enumerate(values.items()):
        counts, _ = np.histogram(np.clip(each, edges[0], edges[-1]), edges)
        panel.stairs(
            counts / len(each) / np.diff(edges),
            edges,
            label=label,
            color="#BBBBBB" if index == 0 else colors[label],
            fill=index == 0,
            linewidth=1.6,
        )
    panel.set_ylabel("density")
