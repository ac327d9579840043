"""What tables say of what is not there, of faults, and of where data come from."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from fdnf.evaluation.core import methods
from fdnf.evaluation.core.frame import Row
from fdnf.evaluation.core.scores import Result, Run

# Words of a source that make its log-likelihoods another quantity than the published.
NOT_PUBLISHED = ("subset", "re-split", "embedded", "synthetic", "lossy")


def notes(results: Sequence[Result], table: Sequence[Row] = ()) -> list[str]:
    """All of them, each thing said once.

    Args:
        results: behind a table.
        table: the scores that it may show; all of the results' by default.
    """
    told = [note for run, _ in results for note in run.facts.get("notes", ())]
    parts = (_seeds, _unequal, _skipped, sources)
    found = [*dict.fromkeys(told), *_diverged(results, table)]
    return found + [note for part in parts for note in part(results)]


def _models(results: Sequence[Result]) -> list[Run]:
    return [result.run for result in results if not methods.is_baseline(result.run)]


def _called(run: Run) -> str:
    return " ".join(filter(None, (run.arch, run.data, methods.label(run))))


def _listed(numbers: Iterable[Any]) -> str:
    return ", ".join(str(number) for number in sorted(set(numbers)))


def _by_name(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        found.setdefault(_called(run), []).append(run)
    return found


def _diverged(results: Sequence[Result], table: Sequence[Row]) -> list[str]:
    """Runs whose likelihood is not finite; other metrics say it in their cell."""
    kept = {row.score for row in table}
    lost = [
        run
        for run, scores in results
        if any(
            s.metric in ("log_likelihood", "bits_per_dim")
            and not math.isfinite(s.value)
            and (not kept or s in kept)
            for s in scores
        )
    ]
    if not lost:
        return []
    named = (
        f"{name} seed {_listed([run.seed for run in runs])}"
        for name, runs in _by_name(lost).items()
    )
    return [f"Diverged, not finite and left out of the mean: {'; '.join(named)}."]


def _seeds(results: Sequence[Result]) -> list[str]:
    """Seeds that some students of a data set have and others have not."""
    runs, told = _models(results), []
    for arch, data in dict.fromkeys((run.arch, run.data) for run in runs):
        here = [run for run in runs if (run.arch, run.data) == (arch, data)]
        # Students may share one teacher, so its seeds oblige nobody.
        students = [run for run in here if run.method not in ("teacher", "pretrained")]
        seeds = {run.seed for run in students}
        for name, group in _by_name(students).items():
            lost = seeds - {run.seed for run in group}
            told += [f"{name} seed {_listed(lost)}"] if lost else []
    return [f"Missing: {'; '.join(told)}."] if told else []


def _unequal(results: Sequence[Result]) -> list[str]:
    """Students that took another number of steps than the plain one."""
    runs, told = _models(results), []
    for arch, data in dict.fromkeys((run.arch, run.data) for run in runs):
        here = [run for run in runs if (run.arch, run.data) == (arch, data)]
        plain = {r.facts.get("steps") for r in here if r.method == "student"} - {None}
        for name, group in _by_name(here).items():
            taken = {run.facts.get("steps") for run in group} - {None}
            other = group[0].method not in ("teacher", "pretrained", "student")
            if plain and other and taken != plain:
                told.append(
                    f"{name} took {_listed(taken)} steps, the plain student "
                    f"{_listed(plain)}"
                )
    return [f"Unequal training: {'; '.join(told)}."] if told else []


def _skipped(results: Sequence[Result]) -> list[str]:
    named = [
        f"{_called(run)} seed {run.seed}: {skipped} of {run.facts.get('steps')}"
        for run in _models(results)
        if (skipped := run.facts.get("skipped_steps"))
    ]
    if not named:
        return []
    return ["Steps skipped because not finite: " + "; ".join(named) + "."]


def sources(results: Sequence[Result]) -> list[str]:
    """One note a data set and source, saying where numbers are not comparable."""
    pairs = {(run.data, run.facts.get("source", "")) for run, _ in results}
    return [f"{data}: {_judged(text)}." for data, text in sorted(pairs) if text]


def _judged(source: str) -> str:
    source = source.rstrip(". ")
    lowered = source.lower()
    if not any(word in lowered for word in NOT_PUBLISHED):
        return source
    kind = "subset, " if "subset" in lowered else ""
    return f"{kind}not comparable with published numbers ({source})"
