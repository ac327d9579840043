"""How far students are from their teacher, level by level."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fdnf.evaluation.core import stats
from fdnf.evaluation.pictures import plotting
from fdnf.losses import distillation
from fdnf.losses.levels import Pairs
from fdnf.train import objectives, teachers
from fdnf.train.teachers import Trained

# Arrays of numpy or jax, or sequences of numbers.
Array = Any
# Batches as a flow takes them, each with its condition or None.
Batches = Sequence[tuple[Array, Array | None]]
PARTS = {
    "passed": "the part passed on",
    "split": "the part split off",
    "both": "the whole level",
}


def draw(
    distances: Mapping[str, Array | tuple[Array, Array]],
    path: str | pathlib.Path,
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


def of_students(
    path: pathlib.Path,
    students: Mapping[str, Trained],
    teacher: Trained,
    batches: Callable[[Trained], Batches],
    *,
    title: str = "",
) -> pathlib.Path:
    """Draws the distances of all students, by pairs and parts of the distilled ones.

    Args:
        path: where to write.
        students: by label.
        teacher: what they are held against.
        batches: what a student encodes, as it takes it.
        title: above the axes.

    Returns:
        The path.
    """
    taught = [f for f in students.values() if objectives.needs_teacher(f.config)]
    given = objectives.arguments(taught[0].config) if taught else {}
    pairs, parts = given.get("pairs", "ratio"), given.get("parts", "passed")
    gaps = {
        label: between(student, teacher, batches(student), pairs=pairs, parts=parts)
        for label, student in students.items()
    }
    ylabel = "mean |student − teacher|"
    # A level of vectors is passed on whole.
    if teacher.preprocess.levels:
        ylabel += f", {PARTS[parts]}"
    return draw(gaps, path, ylabel=ylabel, title=title)


def between(
    student: Trained,
    teacher: Trained,
    batches: Batches,
    *,
    pairs: str | Pairs = "ratio",
    parts: str = "passed",
) -> tuple[np.ndarray, np.ndarray]:
    """Mean |student - teacher| at each pair of levels: mean and interval over runs.

    Run r of the student is compared with run r of the teacher, or with its only run.

    Args:
        student: one flow.
        teacher: the other.
        batches: what both encode.
        pairs: which levels, see `levels.pairs_of`.
        parts: what of each, see `Encoding.part`.

    Returns:
        `[pairs]` each.
    """
    gaps = []
    for r in range(student.runs):
        flow, variables = teachers.run_of(student, r)
        teaching, fixed = teachers.run_of(teacher, min(r, teacher.runs - 1))
        found, counts = [], []
        for x, cond in batches:
            _, aux = distillation.ilkd(
                *(flow, teaching, variables, fixed, x, cond), pairs=pairs, parts=parts
            )
            found.append([float(gap) for gap in aux.per_level])
            counts.append(len(x))
        gaps.append(np.average(found, axis=0, weights=counts))
    over_runs = [interval for g in np.array(gaps).T if (interval := stats.over(g))]
    mean = np.array([interval.mean for interval in over_runs])
    half = np.array([interval.half_width or 0.0 for interval in over_runs])
    return mean, half


def _mean_and_spread(given: Any) -> tuple[np.ndarray, np.ndarray | None]:
    if not isinstance(given, tuple) or np.ndim(given[0]) == 0:
        return np.asarray(given, np.float64), None
    mean, spread = (np.asarray(part, np.float64) for part in given)
    if mean.shape != spread.shape:
        raise ValueError(f"distances {mean.shape} with spread {spread.shape}: unequal")
    return mean, spread
