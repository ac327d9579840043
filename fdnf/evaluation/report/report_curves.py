"""Training and validation curves of many runs, one figure a data set, as SVG."""

import io
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdnf.evaluation.pictures import plotting
from fdnf.evaluation.report import sweeps
from fdnf.evaluation.report.report_runs import Run
from fdnf.evaluation.tables import cells
from fdnf.evaluation.tables.markup import Picture

# Points drawn of one line, and of all lines of a page.
LINE, PAGE = 120, 40_000
STYLES = {"solid": "-", "dashed": "--", "dotted": ":"}
# Part of the steps whose values would flatten the rest, which the axis leaves out.
_EARLY = 0.25
# Inches: as wide as a phone at 96 pixels an inch, so that its text keeps its size.
_WIDTH, _HEIGHT = 4.4, 2.6
_FONT = "DejaVu Sans"
_LINE: Any = {"linewidth": 1.1, "alpha": 0.75}


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
    limit = max(20, min(LINE, PAGE // (2 * max(len(curves), 1))))
    pairs = sorted({curve.run[:2] for curve in curves})
    return [_picture([c for c in curves if c.run[:2] == p], limit) for p in pairs]


def looks(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and line style of each method; a colour that comes again is dashed."""
    colors = plotting.colors(methods)
    styles = list(STYLES)
    used: dict[str, int] = {}
    found = {}
    for method, color in colors.items():
        found[method] = color, styles[used.get(color, 0) % len(styles)]
        used[color] = used.get(color, 0) + 1
    return found


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
    train = _values(rows, "nll", run.index) * (1 if train_bits else -1)
    val = _values(rows, "val_bits_per_dim" if bits else "val_log_prob", run.index)
    steps = np.array([row["step"] for row in rows], np.float64)
    return Curve(run, steps, train, val, train_bits, bits)


def _values(rows: Sequence[Mapping[str, Any]], key: str, index: int) -> np.ndarray:
    found = []
    for row in rows:
        value = row.get(key)
        if isinstance(value, list):
            value = value[index] if index < len(value) else None
        found.append(value if isinstance(value, int | float) else np.nan)
    return np.array(found, np.float64)


def _picture(curves: Sequence[Curve], limit: int) -> Picture:
    import matplotlib
    from matplotlib.figure import Figure

    first = curves[0]
    title = f"{first.run.arch} on {first.run.data}"
    methods = cells.ran([c.run.as_asked() for c in curves])
    shown = looks(methods)
    panels = [
        (ylabel, drawn)
        for name, drawn, bits in (
            ("training", [(c, c.train) for c in curves], first.train_bits),
            ("validation", [(c, c.val) for c in curves], first.val_bits),
        )
        if any(np.isfinite(values).any() for _, values in drawn)
        for ylabel in [f"{name} " + ("bits/dim" if bits else "log-likelihood (nats)")]
    ]
    text = io.StringIO()
    rc: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "fdnf",
        "font.family": _FONT,
    }
    with matplotlib.rc_context(plotting.STYLE | rc):
        figure = Figure(
            figsize=(_WIDTH, _HEIGHT * max(len(panels), 1)), layout="constrained"
        )
        for place, (ylabel, drawn) in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, place + 1)
            for curve, values in drawn:
                color, style = shown[curve.run.method]
                steps, values = thinned(curve.steps, values, limit)
                axes.plot(steps, values, color=color, linestyle=STYLES[style], **_LINE)
            axes.set_ylim(*_range(drawn))
            axes.set_xlim(0, max(curve.steps[-1] for curve in curves))
            axes.set_ylabel(ylabel)
            axes.xaxis.set_major_formatter(_steps)
            axes.locator_params(axis="x", nbins=5)
        if figure.axes:
            figure.axes[-1].set_xlabel("training step")
        # A date would make another file of the same runs.
        meta = {"Date": None, "Creator": None}
        figure.savefig(text, format="svg", metadata=meta, transparent=True)
    seeds = {c.run.seed for c in curves}
    caption = (
        f"Each line is one seed ({cells.listed(seeds)}); lines of more than {limit} "
        "points are thinned. The axes fit what comes "
        "after the first quarter of the steps."
    )
    keys = tuple((cells.METHODS.get(m, m), *shown[m]) for m in methods)
    alt = f"Training and validation curves of {title}"
    return Picture(
        _compact(text.getvalue()),
        *("image/svg+xml", alt, caption, keys),
        title=title,
    )


def thinned(
    steps: np.ndarray, values: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `limit` of the finite points, first and last among them."""
    steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
    if len(steps) <= limit:
        return steps, values
    kept = np.unique(np.linspace(0, len(steps) - 1, limit).round().astype(int))
    return steps[kept], values[kept]


def _range(
    drawn: Sequence[tuple[Curve, np.ndarray]],
) -> tuple[float | None, float | None]:
    late = [v[c.steps >= _EARLY * c.steps[-1]] for c, v in drawn]
    seen = np.concatenate([values[np.isfinite(values)] for values in late])
    if not seen.size or seen.min() == seen.max():
        return None, None
    # Some exploded values must not take the axis either.
    low, high = np.quantile(seen, (0.02, 0.98))
    spread = max(high - low, 1e-9)
    low, high = max(seen.min(), low - spread), min(seen.max(), high + spread)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _steps(step: float, _: Any) -> str:
    return f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"


def _compact(svg: str) -> bytes:
    """The drawing with a tenth of a point as its finest measure."""
    start = svg.index("<svg")
    shorter = re.sub(
        r' d="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m.group()), svg[start:]
    )
    # Measured in the font that matplotlib brings, set in the reader's.
    shorter = shorter.replace(f"'{_FONT}'", f"system-ui, '{_FONT}', sans-serif")
    return re.sub(r"\s*\n\s*", "\n", shorter).encode()
