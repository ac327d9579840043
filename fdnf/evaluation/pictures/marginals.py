"""Figures of vectors: densities in the plane, marginals and grey patches, as PNG.

matplotlib is imported when a figure is drawn. Every function takes arrays and a path,
makes the folder and returns the path.
"""

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fdnf.evaluation.pictures import plotting

# Arrays of numpy or jax, or sequences of numbers.
Array = Any
Path = str | pathlib.Path


def marginals(
    samples: Mapping[str, Array],
    path: Path,
    *,
    pairs: Sequence[tuple[int, int]] = (),
    names: Sequence[str] = (),
    bins: int = 50,
    title: str = "",
) -> pathlib.Path:
    """Draw two-dimensional marginals: a column a sample, a row a pair of features.

    Of a single feature the histograms of all samples are drawn in one frame.

    Limits are the 0.5 % and 99.5 % quantiles of the first sample, the data; within
    a row the colour scale is one, up to the fullest cell of the data. Where more than
    4 % of a sample lies beyond the limits, its share is printed.

    Args:
        samples: label to vectors [n, features]; the data first.
        path: where to write.
        pairs: features (horizontal, vertical) of each row; three, spread over the
            features, by default.
        names: of the features, as a table has them; () where they have none.
        bins: cells a side, or of a histogram.
        title: above the figure.

    Returns:
        The path.

    Raises:
        ValueError: no sample, unequal numbers of features, or a pair beyond them.
    """
    arrays = _vectors(samples)
    data = next(iter(arrays.values()))
    width = data.shape[1]
    named = list(names) or [f"feature {i}" for i in range(width)]
    if width == 1 and not pairs:
        return _histograms(arrays, path, bins, title, named[0])
    chosen = list(pairs) or _spread_pairs(width)
    if width < 2 or any(not 0 <= i < width for pair in chosen for i in pair):
        raise ValueError(
            f"pairs {chosen} of {width} features: expected at least one feature and "
            f"indices from 0 to {width - 1}"
        )
    with plotting.saved(
        path, 1.1 + 1.9 * len(arrays), 0.7 + 1.9 * len(chosen)
    ) as figure:
        grid = figure.subplots(len(chosen), len(arrays), squeeze=False)
        for row, pair in zip(grid, chosen, strict=True):
            _marginal_row(row, arrays, pair, bins, named)
        for axes, label in zip(grid[0], arrays, strict=True):
            axes.set_title(label)
        bar = figure.colorbar(
            grid[0, 0].images[0], ax=grid, fraction=0.04, pad=0.01, shrink=0.6
        )
        bar.set_ticks([0, 0.01, 0.1, 1], labels=["0", "0.01", "0.1", "1"])
        bar.ax.tick_params(labelsize=8)
        bar.set_label("density / peak of the data", size=9)
        bar.outline.set_visible(False)
        figure.suptitle(title, weight="bold", size=12)
    return pathlib.Path(path)


def density_maps(
    points: Array | None,
    densities: Mapping[str, Callable[[np.ndarray], Array]],
    path: Path,
    *,
    box: Array,
    names: Sequence[str] = ("feature 0", "feature 1"),
    cells: int = 160,
    title: str = "",
) -> pathlib.Path:
    """Draw densities in the plane as heat maps, side by side, after the data.

    The colours are one scale for all, up to the largest densities of the first of them;
    the data are a histogram on it. Where a density's mass in the box is not 1 by more
    than 2 %, it is printed: some lies outside, or the density is wrong.

    Args:
        points: the data [n, 2], drawn first; None for none.
        densities: label to the log density, in nats, of points [n, 2].
        path: where to write.
        box: low and high of both features, [2, 2].
        names: of both features.
        cells: of the maps, a side; the data have a quarter as many.
        title: above the figure.

    Returns:
        The path.

    Raises:
        ValueError: no density, or points that are not in the plane.
    """
    shape = (0, 2) if points is None else np.shape(points)
    if not densities or shape[1:] != (2,):
        raise ValueError(
            f"{len(densities)} densities, points of shape {shape}: expected at least "
            "one density and points [n, 2]"
        )
    edges = [np.linspace(low, high, cells + 1) for low, high in box]
    middles = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
    grid = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, 2)
    area = math.prod((high - low) / cells for low, high in box)
    maps = {
        label: np.exp(np.asarray(log_prob(grid), np.float64)).reshape(cells, cells)
        for label, log_prob in densities.items()
    }
    mass = {label: float(m.sum() * area) for label, m in maps.items()}
    first = next(iter(maps.values()))
    # A flow may have a ridge that outshines all else.
    peak = float(np.nanquantile(first, 0.999)) or 1.0
    if points is not None:
        coarse = [edge[:: max(cells // 40, 1)] for edge in edges]
        shown = np.histogram2d(*np.asarray(points).T, bins=coarse, density=True)[0]
        maps = {"data": shown, **maps}
    with plotting.saved(path, 1.0 + 2.5 * len(maps), 2.9) as figure:
        row = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, (label, values) in zip(row, maps.items(), strict=True):
            axes.imshow(
                values.T,
                origin="lower",
                extent=[end for side in box for end in side],
                aspect="auto",
                vmin=0,
                vmax=peak,
                cmap="magma",
                interpolation="nearest",
            )
            axes.set_title(label)
            if not abs(mass.get(label, 1) - 1) <= 0.02:
                _note(axes, f"mass {100 * mass[label]:.0f} %")
            _name_axes(axes, names, first=axes is row[0])
        bar = figure.colorbar(row[-1].images[0], ax=row, fraction=0.04, pad=0.01)
        bar.ax.tick_params(labelsize=8)
        bar.set_label("density", size=9)
        bar.outline.set_visible(False)
        figure.suptitle(title, weight="bold", size=12)
    return pathlib.Path(path)


def pixel_patches(
    samples: Mapping[str, Array],
    path: Path,
    *,
    columns: int = 16,
    rows: int = 2,
    title: str = "",
) -> pathlib.Path:
    """Draw grey patches from vectors that lack their last pixel, one block a sample.

    Patches have mean zero, so the last (bottom right) pixel is minus the sum of the
    others. Patch k of the teacher and of the students stands at the same place: draw
    them from the same noise to compare them one by one.

    Args:
        samples: label to vectors [n, side * side - 1]; the data first, whose 1 % and
            99 % quantiles set the grey scale of all.
        path: where to write.
        columns: patches in a line.
        rows: lines of each sample.
        title: above the figure.

    Returns:
        The path.

    Raises:
        ValueError: no sample, or a number of features that is not a square less one.
    """
    arrays = _vectors(samples)
    data = next(iter(arrays.values()))
    side = math.isqrt(data.shape[1] + 1)
    if side * side != data.shape[1] + 1:
        raise ValueError(
            f"{data.shape[1]} features: expected a square less one, such as 63 for "
            "8x8 patches without their last pixel"
        )
    scale = float(np.quantile(np.abs(data[np.isfinite(data)]), 0.98)) or 1.0
    with plotting.saved(
        path, 1.1 + 0.46 * columns, 0.4 + (0.46 * rows + 0.16) * len(arrays)
    ) as figure:
        blocks = figure.subplots(len(arrays), 1, squeeze=False)[:, 0]
        for axes, (label, array) in zip(blocks, arrays.items(), strict=True):
            axes.imshow(
                mosaic(array[: rows * columns], side, rows, columns),
                cmap="gray",
                vmin=-scale,
                vmax=scale,
                interpolation="nearest",
            )
            axes.set_axis_off()
            axes.text(
                *(-0.012, 0.5, label),
                transform=axes.transAxes,
                ha="right",
                va="center",
                weight="bold",
            )
        figure.suptitle(title, weight="bold", size=12)
    return pathlib.Path(path)


def of_samples(
    shown: Mapping[str, np.ndarray], folder: pathlib.Path, names: Sequence[str] = ()
) -> list[pathlib.Path]:
    """Marginals, and for vectors that are image patches a grid of them.

    Args:
        shown: label to samples [n, features]; the data first.
        folder: gets `marginals.png` and `patches.png`.
        names: of the features, () where they have none.

    Returns:
        The files.
    """
    paths = [marginals(shown, folder / "marginals.png", names=names)]
    if not names and next(iter(shown.values())).shape[1] == 63:
        paths.append(pixel_patches(shown, folder / "patches.png"))
    return paths


def _vectors(samples: Mapping[str, Array]) -> dict[str, np.ndarray]:
    arrays = {label: np.asarray(array) for label, array in samples.items()}
    shapes = {label: array.shape for label, array in arrays.items()}
    widths = {shape[1:] for shape in shapes.values()}
    if len(widths) != 1 or any(len(s) != 2 or not s[0] for s in shapes.values()):
        raise ValueError(
            f"samples have the shapes {shapes}: expected [n, features] with equally "
            "many features, the data first"
        )
    return arrays


def _limits(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of each column that a picture shows, apart where a column is flat."""
    low, high = np.quantile(data, (0.005, 0.995), axis=0)
    flat = low == high
    return low - 0.5 * flat, high + 0.5 * flat


def _histograms(
    arrays: Mapping[str, np.ndarray], path: Path, bins: int, title: str, name: str
) -> pathlib.Path:
    """One feature of all samples, as densities; the data filled."""
    (low,), (high,) = _limits(next(iter(arrays.values())))
    edges = np.linspace(low, high, bins + 1)
    colors = plotting.colors(arrays)
    with plotting.saved(path, 6.4, 4.0) as figure:
        axes = figure.subplots()
        for k, (label, array) in enumerate(arrays.items()):
            counts, _ = np.histogram(array, edges)
            share = counts / len(array)
            outside = 1 - share.sum()
            if outside > 0.04:
                label += f", {100 * outside:.0f} % outside"
            axes.stairs(
                share / np.diff(edges),
                edges,
                label=label,
                color="#BBBBBB" if k == 0 else colors[list(arrays)[k]],
                fill=k == 0,
                linewidth=1.8,
            )
        axes.set_xlabel(name)
        axes.set_ylabel("density")
        axes.legend(frameon=False)
        axes.set_title(title)
    return pathlib.Path(path)


def _spread_pairs(width: int) -> list[tuple[int, int]]:
    starts = np.unique(np.linspace(0, max(width - 2, 0), 3).astype(int))
    return [(int(i), int(i) + 1) for i in starts]


def _marginal_row(
    row: Any,
    arrays: Mapping[str, np.ndarray],
    pair: tuple[int, int],
    bins: int,
    names: Sequence[str],
) -> None:
    from matplotlib import colors

    data = next(iter(arrays.values()))[:, pair]
    low, high = _limits(data)
    box = np.stack([low, high], axis=1)
    peak = None
    for axes, array in zip(row, arrays.values(), strict=True):
        counts, _, _ = np.histogram2d(*array[:, pair].T, bins=bins, range=box)
        share = counts / len(array)
        peak = peak or share.max()
        axes.imshow(
            share.T / peak,
            origin="lower",
            extent=box.ravel(),
            aspect="auto",
            # The cube root keeps the tails visible beside the peak, and zero zero.
            norm=colors.PowerNorm(1 / 3, 0, 1),
            cmap="Blues",
        )
        outside = 1 - share.sum()
        if outside > 0.04:
            _note(axes, f"{100 * outside:.0f} % outside")
        _name_axes(axes, [names[i] for i in pair], first=axes is row[0])


def _note(axes: Any, text: str) -> None:
    """In the lower right corner of a panel."""
    axes.text(
        *(0.97, 0.04, text),
        transform=axes.transAxes,
        ha="right",
        size=8,
        bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none"},
    )


def _name_axes(axes: Any, names: Sequence[str], first: bool) -> None:
    """Names of a panel's features; the vertical one only of the first in its row."""
    axes.grid(visible=False)
    axes.tick_params(labelsize=8)
    axes.locator_params(nbins=4)
    axes.set_xlabel(names[0], size=9)
    if first:
        axes.set_ylabel(names[1], size=9)
    else:
        axes.tick_params(labelleft=False)


def mosaic(vectors: np.ndarray, side: int, rows: int, columns: int) -> np.ndarray:
    """Patches in lines with a pixel between them; that pixel and empty places are nan.

    Args:
        vectors: [n, side * side - 1], patches without their last pixel.
        side: pixels of a patch.
        rows: lines.
        columns: patches in a line.
    """
    from skimage import util

    whole = np.concatenate([vectors, -vectors.sum(axis=1, keepdims=True)], axis=1)
    patches = np.asarray(whole, np.float64).reshape(-1, side, side)
    canvas = util.montage(
        patches, fill=np.nan, grid_shape=(rows, columns), padding_width=1
    )
    return canvas[1:-1, 1:-1]
