"""The figures of the Gaussian study, as PNG."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fdnf.evaluation.core import stats
from fdnf.evaluation.core.scores import Result
from fdnf.evaluation.pictures import plotting
from fdnf.evaluation.tables import cell as cells
from fdnf.evaluation.tables.cell import Number
from fdnf.experiments.gaussian.training import NAMES, Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Arrays = Mapping[str, np.ndarray]

CENTRES = {
    "teacher_mode": "about the teacher's mode",
    "student_mean": "about the student's mean",
}
_BINS = 40
# From light to dark, for T, which has an order; apart in hue as well.
_ORDERED = ("#E0A800", "#2FA36B", "#2A6F9E", "#440154")


def likelihoods(
    settings: Settings,
    results: Sequence[Result],
    arrays: Arrays,
    path: pathlib.Path,
) -> pathlib.Path:
    """Figure 2: log p_T of teacher samples and of student samples.

    A row a T, a column a loss. Values are counted from the mean of each seed's
    teacher, so that the seeds share an axis: the seed of the median difference is
    filled, the other students are outlines.

    Args:
      settings: of the study.
      results: of all its seeds.
      arrays: `<loss>/<T>/teacher` and `/student`, `[seeds, samples]` in nats.
      path: where to write.
    """
    dims, losses = settings.dimensions, settings.losses
    with plotting.saved(path, 1.0 + 3.5 * len(losses), 0.9 + 2.1 * len(dims)) as figure:
        grid = figure.subplots(len(dims), len(losses), squeeze=False, sharex="row")
        for row, dim in zip(grid, dims, strict=True):
            for axes, loss in zip(row, losses, strict=True):
                name = f"{loss}/{dim}"
                pair = (arrays[f"{name}/{who}"] for who in ("teacher", "student"))
                _panel(axes, dim, _differences(results, loss, dim), *pair)
            row[0].set_ylabel(f"T = {dim}\nsamples in a bin", weight="bold")
        for axes, loss in zip(grid[0], losses, strict=True):
            axes.set_title(NAMES[loss])
        for axes in grid[-1]:
            axes.set_xlabel(r"$\log p_T(x)$ − mean of teacher samples (nats)")
        colors = plotting.COLORS
        figure.legend(
            handles=[
                _patch(colors["teacher"], "teacher samples"),
                _patch(colors["student"], "student samples, median seed"),
                _line(colors["student"], "students of the other seeds"),
            ],
            loc="outside upper center",
            ncols=3,
            frameon=False,
        )
    return path


def _differences(results: Sequence[Result], loss: str, dim: int) -> np.ndarray:
    """`[seeds]`, student - teacher, nan where the student diverged."""
    found = {
        run.seed: score.value
        for run, scores in results
        if run.method == loss and run.settings.get("T") == dim
        for score in scores
        if score.metric == "difference"
    }
    return np.array([found[seed] for seed in sorted(found)])


def _panel(
    axes: "Axes",
    dim: int,
    differences: np.ndarray,
    teacher: np.ndarray,
    student: np.ndarray,
) -> None:
    centre = teacher.mean(axis=1, keepdims=True)
    theirs, ours = teacher - centre, student - centre
    spread = theirs.std()
    # No density is higher than at the mode, T / 2 above the teacher's mean.
    limits = (-6 * spread, min(6 * spread, 0.525 * dim))
    edges = np.linspace(*limits, _BINS + 1)
    kept = np.flatnonzero(np.isfinite(differences)).tolist()
    gaps = differences[kept]
    lost = len(ours) - len(kept)
    notes = []
    if kept:
        shown = kept[int(np.argsort(gaps)[(len(kept) - 1) // 2])]
        color = plotting.COLORS["teacher"]
        axes.hist(theirs[shown], edges, color=color, alpha=0.55)
        color = plotting.COLORS["student"]
        axes.hist(ours[shown], edges, color=color, alpha=0.55)
        for i in kept:
            if i != shown:
                axes.hist(
                    ours[i], edges, histtype="step", color=color, lw=0.7, alpha=0.6
                )
        gap = stats.over(gaps)
        assert gap is not None
        shift = Number(gap.mean, gap.half_width, gap.n, digits=1, signed=True)
        notes.append(f"student − teacher\n{cells.text(shift)}")
        beyond = np.mean((ours[kept] < limits[0]) | (ours[kept] > limits[1]))
        if beyond >= 0.005:
            notes.append(f"{beyond:.0%} of students' samples\nbeyond the axis")
    if lost:
        notes.append(f"{lost} of {len(ours)} seeds diverged")
    axes.axvline(0, color="#444444", lw=0.8, ls=":")
    axes.set_xlim(*limits)
    axes.margins(y=0.4)
    axes.text(
        *(0.03, 0.96, "\n".join(notes)),
        transform=axes.transAxes,
        va="top",
        fontsize=9,
    )


def signals(
    settings: Settings,
    arrays: Arrays,
    path: pathlib.Path,
    centres: Sequence[str] = tuple(CENTRES),
    loss: str = "kl",
) -> pathlib.Path:
    """Figure 3: probability of the expansion signal during training, a line a T.

    Args:
      settings: of the study.
      arrays: `<loss>/<T>/steps` and `/signal/<centre>`, `[records]` and
        `[records, seeds]`.
      path: where to write.
      centres: a panel each, keys of CENTRES.
      loss: which students.
    """
    dims = settings.dimensions
    with plotting.saved(path, 1.2 + 4.6 * len(centres), 4.0) as figure:
        grid = figure.subplots(1, len(centres), squeeze=False, sharey=True)[0]
        for axes, centre in zip(grid, centres, strict=True):
            ends = {}
            for i, dim in enumerate(dims):
                color = _shade(i, len(dims))
                steps = arrays[f"{loss}/{dim}/steps"]
                values = arrays[f"{loss}/{dim}/signal/{centre}"]
                lost = np.isnan(arrays[f"{loss}/{dim}/student"]).any(axis=1)
                kept = values[:, ~lost]
                if not kept.shape[1]:
                    continue
                found = [stats.over(row) for row in kept]
                mean = np.array([i.mean for i in found if i])
                half = np.array([i.half_width or 0.0 for i in found if i])
                axes.plot(steps, mean, color=color, lw=1.6)
                low, high = np.clip((mean - half, mean + half), 0, 1)
                axes.fill_between(steps, low, high, color=color, alpha=0.13, lw=0)
                ends[f"T = {dim}"] = (float(mean[-1]), color)
            axes.axhline(0.5, color="#444444", lw=0.8, ls=":")
            axes.set_xlim(0, settings.steps)
            axes.set_ylim(0, 1)
            axes.set_title(CENTRES[centre])
            axes.set_xlabel("update")
            axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
            plotting.label_ends(figure, axes, ends)
        grid[0].set_ylabel("P[(x − centre)ᵀ g > 0]")
        figure.suptitle(
            f"Expansion signal of {NAMES[loss]} students, mean and 95 % interval over "
            f"{settings.seeds} seeds ({settings.signal_rows} draws each)",
            size=10,
        )
    return path


def random_teachers(
    dimensions: Sequence[int],
    groups: Mapping[str, list[list[float]]],
    path: pathlib.Path,
) -> pathlib.Path:
    """Probability of the expansion signal before training, over T.

    Args:
      dimensions: T of each group.
      groups: of `proposition_1.over_dimensions`.
      path: where to write.
    """
    with plotting.saved(path, 5.6, 4.2) as figure:
        axes = figure.subplots()
        ends = {}
        colors = plotting.COLORS["teacher"], plotting.COLORS["student"]
        shifts = 0.97, 1.03
        for (name, group), color, shift in zip(
            groups.items(), colors, shifts, strict=True
        ):
            for dim, values in zip(dimensions, group, strict=True):
                at = [dim * shift] * len(values)
                axes.plot(at, values, ".", color=color, alpha=0.35)
            median = [np.median(values) for values in group]
            axes.plot(dimensions, median, color=color, lw=1.8)
            ends[name] = (float(median[-1]), color)
        axes.set_xscale("log", base=2)
        axes.set_xticks(dimensions, [str(dim) for dim in dimensions])
        axes.set_xlim(dimensions[0] / 1.15, dimensions[-1] * 1.15)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("T")
        axes.set_ylabel("P[xᵀ g > 0] of a student N(0, I), exact")
        axes.set_title("Random teachers and their median")
        plotting.label_ends(figure, axes, ends)
    return path


def _shade(i: int, count: int) -> str:
    """Of few lines the dark ones; of more than there are shades some share one."""
    at = len(_ORDERED) - count + i if count <= len(_ORDERED) else i
    return _ORDERED[min(at, len(_ORDERED) - 1)]


def _patch(color: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=color, alpha=0.55, label=label)


def _line(color: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, lw=0.9, label=label)
