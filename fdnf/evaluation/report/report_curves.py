"""Training and validation curves of many runs, one figure a data set, as SVG."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdnf.evaluation.pictures import curves as curve_pictures
from fdnf.evaluation.report import sweeps
from fdnf.evaluation.report.report_runs import Run
from fdnf.evaluation.tables import cells
from fdnf.evaluation.tables.markup import Picture


class Curve(NamedTuple):
    """One run's values over its steps, and whether they are bits/dim."""

    run: Run
    steps: np.ndarray
    train: np.ndarray
    val: np.ndarray
    train_bits: bool
    val_bits: bool


def pictures(
    runs: Sequence[Run], root: pathlib.Path, problems: list[str]
) -> list[Picture]:
    """One figure an architecture and data set: every run a thin line.

    Args:
        runs: with and without results; unfinished ones are drawn as far as they went.
        root: of the report, for the names of logs that cannot be read.
        problems: gets those.

    Returns:
        The figures.
    """
    logs: dict[pathlib.Path, list[dict[str, Any]]] = {}
    curves = []
    for run in runs:
        if run.folder not in logs:
            logs[run.folder] = read(run.folder, root, problems)
        if logs[run.folder]:
            curves.append(curve(run, logs[run.folder]))
    pairs = sorted({curve.run[:2] for curve in curves})
    return [_picture([c for c in curves if c.run[:2] == p]) for p in pairs]


def read(
    folder: pathlib.Path, root: pathlib.Path, problems: list[str]
) -> list[dict[str, Any]]:
    """The rows of a run's log; none, and a problem, where it cannot be read."""
    # Brings jax, for which not every report has a use.
    from fdnf.train import writers

    place, told, rows = sweeps.place(root, folder / sweeps.LOG), [], []
    try:
        rows = writers.read_log(folder, told)
    except OSError as error:
        told.append(f"no curves of it ({error})")
    problems += [f"{place}: {each}" for each in told]
    return rows


def curve(run: Run, rows: Sequence[Mapping[str, Any]]) -> Curve:
    """A run's values in the rows of its log, which may hold several runs."""
    bits = any("val_bits_per_dim" in row for row in rows)
    train_bits = run.config.get("loss", {}).get("units", "nats") == "bits_per_dim"
    # The likelihood part of a distillation loss, which is what methods share.
    train = curve_pictures.values(rows, "nll", run.index) * (1 if train_bits else -1)
    val = curve_pictures.values(
        rows, "val_bits_per_dim" if bits else "val_log_prob", run.index
    )
    steps = np.array([row["step"] for row in rows], np.float64)
    return Curve(run, steps, train, val, train_bits, bits)


def _picture(curves: Sequence[Curve]) -> Picture:
    first = curves[0]
    title = f"{first.run.arch} on {first.run.data}"
    methods = cells.ran([c.run.as_asked() for c in curves])
    shown = curve_pictures.looks(methods)
    panels = {}
    for name, drawn, bits in (
        ("training", [(c, c.train) for c in curves], first.train_bits),
        ("validation", [(c, c.val) for c in curves], first.val_bits),
    ):
        unit = "bits/dim" if bits else "log-likelihood (nats)"
        panels[f"{name} {unit}"] = [
            curve_pictures.Line(c.steps, values, *shown[c.run.method])
            for c, values in drawn
        ]
    seeds = {c.run.seed for c in curves}
    caption = (
        f"Each line is one seed ({cells.listed(seeds)}); lines of more than "
        f"{curve_pictures.POINTS} points are thinned. The axes fit what comes after "
        "the first tenth of the steps."
    )
    keys = tuple((cells.METHODS.get(m, m), *shown[m]) for m in methods)
    alt = f"Training and validation curves of {title}"
    data = curve_pictures.svg(panels)
    return Picture(data, "image/svg+xml", alt, caption, keys, title=title)
