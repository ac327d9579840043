"""The numbers of the Gaussian study as Markdown."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fdnf.evaluation.tables import intervals, markup
from fdnf.experiments.gaussian import proposition_report

NAMES = {
    "kl": "KL",
    "kl_path": "KL, path derivative",
    "z": "z-reconstruction",
    "x": "x-reconstruction",
}


def page(results: Mapping[str, Any]) -> str:
    """The tables of a study's results as one Markdown page."""
    settings = results["settings"]
    intro = markup.Text(
        f"Teachers x = mu + R z with R_ij ~ N(0, 1) and every mu_i = "
        f"{settings['teacher_mean']:g}; students of the same form from R = "
        f"{'I' if settings['init'] == 'identity' else 'N(0, 1) draws'}, mu = 0. "
        f"{settings['steps']:,} updates of Adam at {settings['lr']:g} with batches of "
        f"{settings['batch']}; {settings['seeds']} seeds, each with a teacher of its "
        f"own, from seed {settings['seed']}."
    )
    sections = (
        markup.Section("Setting", (intro,)),
        markup.Section("Samples under the teacher", (likelihoods(results),)),
        markup.Section("Distance to the teacher", (distances(results),)),
        *(
            [markup.Section("Losses in pairs", (pairs(results),))]
            if len(settings["losses"]) > 1
            else []
        ),
        markup.Section("Proposition 1", proposition_report.tables(results)),
    )
    return markup.page("Gaussian teachers and students", sections)


def likelihoods(results: Mapping[str, Any]) -> markup.Table:
    """Likelihood under the teacher of its samples and the students' (figure 2)."""
    rows = [
        (
            *names,
            _spread(cell, "teacher"),
            _spread(cell, "student"),
            _signed(cell, "difference"),
            _signed(cell, "exact_difference"),
            _above(cell),
            _plain(cell, "ks", 3),
            _lost(cell),
        )
        for names, cell in _cells(results)
    ]
    samples = results["settings"]["samples"]
    border = 1.358 * np.sqrt(2 / samples)
    return markup.Table(
        "",
        (
            *("T", "loss", "teacher", "student", "student − teacher", "exact"),
            *("above 0", "KS", "diverged"),
        ),
        tuple(rows),
        (
            f"teacher and student: log p_T(x) in nats, mean ± standard deviation over "
            f"{samples:,} samples of each, then their mean over seeds.",
            "student − teacher: mean over seeds ± half-width of its 95 % Student-t "
            "interval; * where that leaves out 0. Above 0 the student is more "
            "concentrated than its teacher. exact: from the parameters, without "
            "sampling. above 0: seeds with a student − teacher above 0.",
            f"KS: two-sample Kolmogorov-Smirnov statistic; below {border:.3f} a pair "
            "of samples is not told apart at the level of 5 %.",
            "diverged: students with parameters that are not finite; they are in no "
            "other column.",
        ),
    )


def distances(results: Mapping[str, Any]) -> markup.Table:
    """Divergences of the fitted Gaussians, and how hard the teachers are."""
    rows = [
        (
            *names,
            _range(cell["seeds"]["reverse_kl"]),
            _range(cell["seeds"]["forward_kl"]),
            _signed(cell, "entropy_gap"),
            _range(cell["seeds"]["condition"]),
        )
        for names, cell in _cells(results)
    ]
    return markup.Table(
        "",
        (
            *("T", "loss", "KL(student || teacher)", "KL(teacher || student)"),
            *("entropy gap", "condition number"),
        ),
        tuple(rows),
        (
            "KL, in nats: in closed form from the parameters; median and range over "
            "seeds.",
            "entropy gap, in nats: student − teacher, log |det R_S| − log |det R_T|; "
            "mean over seeds ± half-width of the 95 % interval, * where that leaves "
            "out 0.",
            "condition number: of the teachers' R; median and range over seeds.",
        ),
    )


def pairs(results: Mapping[str, Any]) -> markup.Table:
    """What changing the loss changes, seed by seed."""
    first, *others = results["settings"]["losses"]
    rows = []
    for dim in results["settings"]["dimensions"]:
        base = results["cells"][f"{first}/{dim}"]
        for other in others:
            cell = results["cells"][f"{other}/{dim}"]
            rows.append(
                (
                    str(dim),
                    f"{NAMES[other]} − {NAMES[first]}",
                    *(
                        _paired(cell, base, name)
                        for name in ("difference", "entropy_gap", "reverse_kl")
                    ),
                )
            )
    return markup.Table(
        "",
        ("T", "losses", "student − teacher", "entropy gap", "KL(student || teacher)"),
        tuple(rows),
        (
            "Differences in nats between losses on the same teachers and batches: mean "
            "over seeds ± half-width of the 95 % interval; * where that leaves out 0.",
        ),
    )


def _cells(results: Mapping[str, Any]):
    settings = results["settings"]
    for dim in settings["dimensions"]:
        for loss in settings["losses"]:
            yield (str(dim), NAMES[loss]), results["cells"][f"{loss}/{dim}"]


def interval(cell: Mapping[str, Any], name: str) -> intervals.Interval | None:
    """A quantity over the seeds of a cell; None if all diverged."""
    found = cell["over_seeds"][name]
    return intervals.Interval(**found) if found else None


def signed(found: intervals.Interval | None, digits: int = 2) -> str:
    """The interval with its sign, and a star where it leaves out 0."""
    if found is None:
        return "–"
    shown = round(found.mean, digits) + 0.0
    text = intervals.render(found._replace(mean=shown), digits, signed=True)
    # What the printed digits do not tell from 0 is rounding.
    return f"{text} *" if found.excludes_zero() and shown else text


def _signed(cell: Mapping[str, Any], name: str) -> str:
    return signed(interval(cell, name))


def _plain(cell: Mapping[str, Any], name: str, digits: int) -> str:
    found = interval(cell, name)
    return "–" if found is None else intervals.render(found, digits)


def _spread(cell: Mapping[str, Any], who: str) -> str:
    mean, sd = (interval(cell, f"{who}_{part}") for part in ("mean", "sd"))
    return "–" if mean is None or sd is None else f"{mean.mean:.1f} ± {sd.mean:.1f}"


def _above(cell: Mapping[str, Any]) -> str:
    kept = [v for v in cell["seeds"]["difference"] if v is not None]
    return f"{sum(v > 0 for v in kept)} of {len(kept)}"


def _lost(cell: Mapping[str, Any]) -> str:
    seeds = cell["diverged"]
    named = f" (seed {', '.join(map(str, seeds))})" if seeds else ""
    return f"{len(seeds)} of {len(cell['seeds']['ks'])}{named}"


def _range(values: list[float | None]) -> str:
    kept = [v for v in values if v is not None]
    if not kept:
        return "–"
    middle, low, high = (
        f"{v:,.0f}" if v >= 99.5 else f"{v:.2g}" if v >= 0.01 else "0.00"
        for v in (np.median(kept), min(kept), max(kept))
    )
    return f"{middle} ({low} to {high})"


def _paired(cell: Mapping[str, Any], base: Mapping[str, Any], name: str) -> str:
    one, two = (
        {i: v for i, v in enumerate(c["seeds"][name]) if v is not None}
        for c in (cell, base)
    )
    return signed(intervals.paired(one, two)) if one.keys() & two.keys() else "–"
