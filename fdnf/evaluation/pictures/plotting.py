"""What the figures share: style, colours, direct labels, saving."""

import contextlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fdnf import files
from fdnf.evaluation.core import methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of methods, Okabe and Ito's colours, which stay apart for colour-blind readers; known
# labels keep theirs in every figure.
COLORS = {
    "data": "#222222",
    **{
        name: method.color
        for name, method in (methods.BASELINES | methods.METHODS).items()
        if method.color
    },
}
SPARE_COLORS = ("#E69F00", "#7F7F7F", "#332288", "#999933", "#882255")
DPI = 160
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}


@contextlib.contextmanager
def saved(path: str | pathlib.Path, width: float, height: float) -> "Iterator[Figure]":
    """A figure of `width` x `height` inches, written to `path` when the block ends."""
    import matplotlib
    from matplotlib.figure import Figure

    # A bare Figure draws with Agg and never touches pyplot's global state.
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with files.replacing(path) as file:
            figure.savefig(file, dpi=DPI, format="png")


def colors(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label, the same wherever a known label is drawn."""
    spare = iter(SPARE_COLORS * 8)
    known = {k: COLORS.get(k.lower().removesuffix(" student")) for k in labels}
    return {k: color or next(spare) for k, color in known.items()}


def label_ends(
    figure: "Figure", axes: "Axes", ends: Mapping[str, tuple[float, str]]
) -> None:
    """Write labels beside the ends of lines, moved apart where they would overlap.

    Args:
        figure: the figure of `axes`.
        axes: limits already set.
        ends: label to the last value, in data units, and the colour.
    """
    if not ends:
        return
    from scipy import optimize

    figure.draw_without_rendering()
    to_points = 72 / figure.dpi
    low, high = (edge * to_points for edge in axes.bbox.intervaly)
    line = 12.5
    order = sorted(ends, key=lambda label: ends[label][0])
    points = [(1, ends[label][0]) for label in order]
    own = axes.transData.transform(points)[:, 1] * to_points
    # The least displacement that keeps lines apart: isotonic regression once the
    # line height times the rank is taken off.
    ranks = line * np.arange(len(order))
    free = optimize.isotonic_regression(np.clip(own, low, high) - ranks).x
    placed = np.clip(free, low, max(high - ranks[-1], low)) + ranks
    for label, height in zip(order, placed, strict=True):
        axes.annotate(
            label,
            (1, (height - low) / (high - low)),
            (6, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=ends[label][1],
            weight="bold",
            va="center",
            annotation_clip=False,
        )
