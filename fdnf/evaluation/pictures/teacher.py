"""Students beside the teacher whose density they learned.

Densities of samples of any kind as figure 2, and images as figures 4, 5 and 6 and
appendix A of Huang et al. (2019).
"""

import pathlib
from collections.abc import Mapping

import jax
import numpy as np

from fdnf.data.images import Images
from fdnf.evaluation.core import methods
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.pictures import grids, images, plotting
from fdnf.flows.base import FlowModule
from fdnf.metrics import importance
from fdnf.train.teachers import Trained

# Images a side of a panel, panels of a line, images of a line of reconstructions.
SIDE, WRAP, ACROSS = 6, 5, 16
# Appendix A: factors of the latents' norm, and latents that are varied.
FACTORS = tuple(np.linspace(0.9, 1.1, 11).tolist())
VARIED = 6
# Densities of samples under it are drawn behind those of the others.
TEACHER = "teacher"
# Of a histogram.
BINS = 60
# The axis ends this many widths of the bulk of the teacher's samples beyond it.
WIDTHS = 3.0


def draw(
    folder: pathlib.Path, trained: Mapping[str, Trained], data: Images
) -> list[pathlib.Path]:
    """Draws samples, reconstructions, and what a change of the latents' norm does.

    Args:
        folder: where the files go.
        trained: label to flow or student, of each of which run 0 is shown; the
            teacher under "teacher", if it is there.
        data: what all were trained on.

    Returns:
        The files.
    """
    config = next(iter(trained.values())).config
    samplers_of = {
        label: samplers.of(model, 0, config.eval.time_batch)
        for label, model in trained.items()
    }
    free = [k for k, model in trained.items() if not isinstance(model.flow, FlowModule)]
    causal = [k for k in trained if k not in free and k != TEACHER]
    seen = samplers.as_decoded(data, next(iter(trained.values())).preprocess)
    first = [TEACHER] if TEACHER in trained else []
    paths = []
    for name, group, figure in (
        ("samples_causal.png", [*first, *causal], "figure 4"),
        ("samples_free.png", [*first, *free], "figures 5 and 6"),
    ):
        if set(group) - {TEACHER}:
            chosen = {label: samplers_of[label] for label in group}
            paths.append(_samples(folder / name, chosen, seen, config, figure))
    if TEACHER in trained:
        teacher = samplers_of.pop(TEACHER)
        path = folder / "norms.png"
        paths.append(_norms(path, teacher, seen, config))
        if samplers_of:
            path = folder / "reconstructions.png"
            paths.append(
                _reconstructions(path, teacher, samplers_of, data, seen, config)
            )
    return paths


def _latents(sampler: Sampler, event: tuple[int, ...], count: int, seed: int):
    return sampler.draw(jax.random.key(seed), (count, *event))


def _condition(sampler: Sampler, count: int) -> np.ndarray | None:
    """Classes in turn, for a conditional flow."""
    classes = sampler.preprocess.classes
    return sampler.condition(np.arange(count) % classes) if classes else None


def _samples(path, models: Mapping[str, Sampler], seen: Images, config, figure):
    count = SIDE * SIDE
    panels = {}
    for label, sampler in models.items():
        z = _latents(sampler, seen.event, count, config.seed)
        panels[label] = sampler.decode(z, _condition(sampler, count)).images
    return grids.draw(
        {"": panels},
        path,
        across=SIDE,
        down=SIDE,
        wrap=WRAP if len(panels) <= WRAP else -(-len(panels) // 2),
        levels=seen.levels,
        title=f"{seen.name}: samples of the teacher and of its students",
        note="The first samples of run 0 at temperature 1, not selected; in one place "
        f"all decode the same noise. As {figure} of Huang et al. (2019), with other "
        "noise.",
    )


def _reconstructions(
    path, teacher: Sampler, students: Mapping[str, Sampler], data, seen, config
):
    rows = images.spread(data, ACROSS)
    labels = images.labels(data, rows)
    cond = teacher.condition(labels)
    z = teacher.encode(data.test[rows], jax.random.key(config.seed), cond)
    found = {"data": {"": seen.test[rows]}}
    for label, sampler in students.items():
        found[label] = {"": sampler.decode(z, cond).images}
    return grids.draw(
        found,
        path,
        across=ACROSS,
        down=1,
        levels=seen.levels,
        title=f"{seen.name}: test images, encoded by the teacher and decoded by the "
        "students",
        note="Encodings without noise. A student that inverts the teacher gives the "
        "image back.",
    )


def _norms(path, teacher: Sampler, seen: Images, config):
    z = _latents(teacher, seen.event, VARIED, config.seed)
    cond = _condition(teacher, VARIED)
    scales = np.asarray(FACTORS, np.float32)

    def repeated(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows, len(scales), axis=0)

    def varied(part: np.ndarray) -> np.ndarray:
        factor = np.tile(scales, len(part)).reshape(-1, *(1,) * (part.ndim - 1))
        return repeated(part) * factor

    decoded = teacher.decode(
        tuple(varied(part) for part in z), None if cond is None else repeated(cond)
    ).images
    return grids.draw(
        {"": {"": decoded}},
        path,
        across=len(scales),
        down=VARIED,
        levels=seen.levels,
        title=f"{seen.name}: the teacher's samples of one direction and other norms",
        note=f"Each line is T^-1(c z) of one z, c from {scales[0]:.2f} to "
        f"{scales[-1]:.2f} in equal steps, 1 in the middle. As appendix A of Huang "
        "et al. (2019), whose values of c are not given.",
    )


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
    colors = plotting.colors([TEACHER, *shown])
    panels = max(len(shown), 1)
    with plotting.saved(path, 7.2, 0.8 + 1.25 * panels) as figure:
        grid = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
        names = list(shown) or [TEACHER]
        for axes, method in zip(grid, names, strict=True):
            values = shown.get(method, own)
            axes.stairs(_share(own, edges), edges, fill=True, color="#C9DCEA")
            axes.axvline(_median(own), color=colors[TEACHER], linestyle="--", lw=1)
            color = colors[method]
            axes.stairs(_share(values, edges), edges, color=color, linewidth=1.6)
            middle = _median(values)
            if low <= middle <= high:
                axes.axvline(middle, color=color, linestyle="--", lw=1.4)
            told = methods.label(method) + _aside(values, middle, low, high)
            axes.set_title(told, color=color)
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


def weights(
    log_weights: Mapping[str, np.ndarray],
    path: str | pathlib.Path,
    *,
    title: str = "",
) -> pathlib.Path:
    """Draws one panel a method: log p_T - log q of its draws, and where all would be 0.

    A draw at the right is one that the student makes too seldom, at the left too often.
    Draws beyond the axis are counted in the panel.

    Args:
        log_weights: method to `[draws]`, in nats.
        path: where to write.
        title: above the panels.

    Returns:
        The path.

    Raises:
        ValueError: no method.
    """
    if not log_weights:
        raise ValueError("no log weights: expected those of one method at least")
    known = [np.asarray(v, np.float64) for v in log_weights.values()]
    finite = [v[np.isfinite(v)] for v in known]
    ends = [np.quantile(v, [0.01, 0.999]) for v in finite if len(v)] or [(-1.0, 1.0)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    # One bad student is not to make spikes of the others, nor rounding an axis.
    reach = max(min(max(-low, high), 4 * min(max(-a, b) for a, b in ends)), 0.1)
    edges = np.linspace(-1.05 * reach, 1.05 * reach, 2 * BINS + 1)
    colors = plotting.colors([TEACHER, *log_weights])
    with plotting.saved(path, 7.2, 0.8 + 1.25 * len(known)) as figure:
        grid = figure.subplots(len(known), 1, sharex=True, squeeze=False)[:, 0]
        for axes, method, values in zip(grid, log_weights, known, strict=True):
            found = importance.of(values)
            axes.axvline(0.0, color=colors[TEACHER], linestyle="--", lw=1)
            axes.stairs(_share(values, edges), edges, fill=True, color=colors[method])
            told = f": ESS/N {found.ess_share:.3g}, k-hat {found.khat:.2f}"
            told += _beyond(values, edges[0], edges[-1])
            axes.set_title(methods.label(method) + told, color=colors[method])
            axes.set_yticks([])
            axes.set_ylim(bottom=0)
            axes.grid(visible=False, axis="y")
        grid[-1].set_xlim(edges[0], edges[-1])
        grid[-1].set_xlabel(
            "log weight, log p_T - log q (nats)\n"
            "dashed: where all draws of a perfect student are"
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
    told = f"median {middle:,.1f}" if abs(middle) < 1e5 else f"median {middle:.1e}"
    return f": {told}{_beyond(values, low, high)}"


def _beyond(values: np.ndarray, low: float, high: float) -> str:
    below = 100 * float(np.mean(~(values >= low)))
    above = 100 * float(np.mean(values > high))
    told = [f", {below:.1f} % below the axis"] if below >= 0.05 else []
    told += [f", {above:.1f} % above it"] if above >= 0.05 else []
    return "".join(told)
