"""Figures of a study as PNG: training, distances by level, samples.

matplotlib is imported when a figure is drawn, so that importing this module costs
nothing. Every function takes arrays and a path, makes the folder and returns the path.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fdnf.evaluation.pictures import plotting, sample_figures

# Arrays of numpy or jax, or sequences of numbers.
Array = Any
Path = str | pathlib.Path

marginals = sample_figures.marginals
pixel_patches = sample_figures.pixel_patches


def training_curves(
    curves: Mapping[str, tuple[Array, Array]],
    path: Path,
    *,
    ylabel: str = "validation log-likelihood (nats)",
    title: str = "",
) -> pathlib.Path:
    """Draw a quantity over training steps, one labelled line a run.

    The vertical axis shows what the runs do after their first tenth, whose values
    would flatten the rest.

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
        axes.set_ylim(*_late_range(drawn))
        axes.set_xlim(0, max(steps.max() for steps, _ in drawn.values()))
        axes.set_xlabel("training step")
        axes.set_ylabel(ylabel)
        axes.set_title(title)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        plotting.label_ends(figure, axes, ends)
    return pathlib.Path(path)


def level_distances(
    distances: Mapping[str, Array | tuple[Array, Array]],
    path: Path,
    *,
    levels: Sequence[str] = (),
    ylabel: str = "mean |student − teacher|",
    title: str = "",
) -> pathlib.Path:
    """Draw the distance to the teacher level by level, one labelled line a student.

    Args:
        distances: label to the distance at each level [levels], or to a pair of
            distances and their spread (half-widths, in the same unit).
        path: where to write.
        levels: names of the levels; 1, 2, ... by default.
        ylabel: the distance with its unit; drawn from zero, or on a logarithmic
            axis where the values span more than a factor of 30.
        title: above the axes.

    Returns:
        The path.

    Raises:
        ValueError: no student, or levels that do not match.
    """
    drawn = {label: _mean_and_spread(given) for label, given in distances.items()}
    counts = {len(mean) for mean, _ in drawn.values()} | ({len(levels)} - {0})
    if not drawn or len(counts) != 1:
        raise ValueError(
            f"{len(drawn)} students and {sorted(counts)} levels: expected at least "
            "one student, and as many distances for each as levels have names"
        )
    (count,) = counts
    at = np.arange(1, count + 1)
    colors = plotting.colors(drawn)
    with plotting.saved(path, 6.4, 4.0) as figure:
        axes = figure.subplots()
        for label, (mean, spread) in drawn.items():
            axes.errorbar(
                *(at, mean, spread),
                color=colors[label],
                marker="o",
                linewidth=1.8,
                capsize=3,
            )
        means = np.concatenate([mean for mean, _ in drawn.values()])
        if means.min() > 0 and means.max() > 30 * means.min():
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xticks(at, list(levels) or [str(level) for level in at])
        axes.set_xlim(0.85, count + 0.15)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("level, from data to latent")
        axes.set_ylabel(ylabel)
        axes.set_title(title)
        ends = {k: (mean[-1], colors[k]) for k, (mean, _) in drawn.items()}
        plotting.label_ends(figure, axes, ends)
    return pathlib.Path(path)


def _curve(label: str, steps: Array, values: Array) -> tuple[np.ndarray, np.ndarray]:
    at, runs = np.asarray(steps), np.atleast_2d(np.asarray(values, np.float64))
    if at.ndim != 1 or not at.size or runs.shape[1:] != at.shape:
        raise ValueError(
            f"curve {label!r} has steps {at.shape} and values {np.shape(values)}: "
            "expected [n] and [n] or [seeds, n], with n at least 1"
        )
    return at, runs


def _late_range(
    drawn: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> tuple[float | None, float | None]:
    late = [
        values[:, steps >= steps[0] + 0.1 * (steps[-1] - steps[0])].ravel()
        for steps, values in drawn.values()
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


def _mean_and_spread(given: Any) -> tuple[np.ndarray, np.ndarray | None]:
    if not isinstance(given, tuple) or np.ndim(given[0]) == 0:
        return np.asarray(given, np.float64), None
    mean, spread = (np.asarray(part, np.float64) for part in given)
    if mean.shape != spread.shape:
        raise ValueError(f"distances {mean.shape} with spread {spread.shape}: unequal")
    return mean, spread
