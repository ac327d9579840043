"""Posteriors of six simulators, against references and figures that others published.

  pip download --no-deps sbibm==1.1.0
  python -m fdnf.experiments.sbi.study --workdir=runs/sbi --reference=sbibm-1.1.0-...whl

Each task has 10,000 simulations. Flows of the posterior (NPE) and of the likelihood
(NLE) are trained on them, and each teaches couplings that draw in one pass; see
`training`. For the ten published observations 10,000 draws of each are held against
10,000 samples of the exact posterior by the benchmark's own classifier test. Writes to
the workdir:

  table.md       C2ST beside the published columns, then times and weights
  scores.json    every number, by task, seed, network and observation
  <task>/seed_*  the networks, as `fdnf.load` reads them, and their scores

What is there is not trained or scored again: the same command goes on where it stood.

Reference: Lueckmann et al. (2021), Benchmarking simulation-based inference.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fdnf import files
from fdnf.data import paths, sbi, sbibm
from fdnf.data.sbibm import Reference
from fdnf.data.tabular import DataError
from fdnf.evaluation.core import stats
from fdnf.evaluation.tables import table
from fdnf.evaluation.tables.table import Table
from fdnf.experiments.sbi import scoring, training
from fdnf.experiments.sbi.training import Budget, Study
from fdnf.metrics import c2st as ours
from fdnf.train import interruption, process

SETTINGS, SCORES, TABLE = "settings.json", "scores.json", "table.md"
# What is scored: networks, and draws of the last corrected to the judge it learnt from.
CORRECTED = "corrected"
JUDGED = ("teacher", "student", "amortised", CORRECTED)
NAMES = {
    "teacher": "teacher (NPE)",
    "student": "its student",
    "amortised": "student of NLE",
    CORRECTED: "corrected to NLE",
}

Scores = dict[str, Any]


class StudyError(ValueError):
    """A command that cannot work; the text says why, and what to write."""


def run(
    budget: Budget,
    workdir: str | pathlib.Path,
    tasks: Sequence[str] = tuple(sbi.TASKS),
    seeds: Sequence[int] = (0,),
    judged: Sequence[str] = JUDGED,
    reference: str | pathlib.Path | None = None,
    own: int = 0,
    jobs: int = 1,
    progress: bool = True,
    observations: int = sbibm.OBSERVATIONS,
    draws: int = sbibm.SAMPLES,
) -> str:
    """Trains what is not trained yet, scores what is not scored, writes the table.

    Args:
      budget: of the trainings.
      workdir: of the results; made if absent.
      tasks: of `sbi.TASKS`.
      seeds: of the simulations and trainings.
      judged: of `JUDGED`, what is scored.
      reference: the file of `sbibm.reference`, found by itself in the data directory.
      own: observations that `metrics.c2st` judges as well.
      jobs: processes of the classifier test.
      progress: whether bars are shown.
      observations: how many of the ten are scored.
      draws: of each network, against as many samples of the exact posterior.

    Returns:
      The tables as Markdown.

    Raises:
      StudyError: for unknown names, or a workdir whose networks had another budget.
      DataError: for a reference that is missing or damaged.
    """
    for what, given, known in (("tasks", tasks, sbi.TASKS), ("judged", judged, JUDGED)):
        if not given or {*given} - {*known}:
            raise StudyError(f"{what} {[*given]}: expected some of {[*known]}")
    most = (sbibm.OBSERVATIONS, sbibm.SAMPLES)
    if not seeds or not (1 <= observations <= most[0] and 50 <= draws <= most[1]):
        raise StudyError(
            f"{len(seeds)} seeds, {observations} observations, {draws} draws: expected "
            f"a seed at least, 1 to {most[0]} observations and 50 to {most[1]:,} draws"
        )
    workdir = paths.expanded(workdir)
    _check_settings(budget, workdir)
    published = {name: sbibm.reference(name, reference) for name in tasks}
    workdir.mkdir(parents=True, exist_ok=True)
    files.write_json(workdir / SETTINGS, dataclasses.asdict(budget))
    for seed in seeds:
        for name in tasks:
            folder = workdir / name / f"seed_{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            networks = Study(sbi.get(name), budget, seed, folder, progress)
            scorer = _Scorer(networks, published[name], observations, draws, own, jobs)
            for method in judged:
                _score(scorer, method, folder / f"{method}.json")
    found = scores_of(workdir)
    files.write_json(workdir / SCORES, found)
    text = page(found, budget)
    files.write_text(workdir / TABLE, text)
    return text


def _check_settings(budget: Budget, workdir: pathlib.Path) -> None:
    path = workdir / SETTINGS
    if not path.exists():
        return
    there = files.read_json(path, "remove it to score the networks that are there")
    wanted = json.loads(json.dumps(dataclasses.asdict(budget)))
    other = sorted(k for k in wanted if there.get(k) != wanted[k])
    if other:
        has = ", ".join(f"{k}={there.get(k)}" for k in other)
        raise StudyError(
            f"{workdir} holds networks with {has}; give these, or another --workdir"
        )


class _Scorer:
    """Scores of the networks of one task and seed."""

    def __init__(
        self,
        networks: Study,
        published: Reference,
        observations: int,
        draws: int,
        own: int,
        jobs: int,
    ):
        self.networks, self.task = networks, networks.task
        self._published, self.count = published, observations
        self._draws, self._own, self._jobs = draws, own, jobs

    def of(self, method: str, scores: Scores) -> Iterator[Scores]:
        """The scores of a method, more with each observation; goes on from some."""
        draw = self._corrected if method == CORRECTED else self._drawn(method)
        found = {"task": self.task.name, "c2st": [], **scores}
        for index in range(len(found["c2st"]), self.count):
            samples, said = draw(index)
            exact = self._published.posterior[index][: self._draws]
            said["c2st"] = scoring.c2st(exact, samples, jobs=self._jobs)
            if index < self._own:
                said["own"] = ours.c2st(exact, samples).accuracy
            found |= {k: [*found.get(k, ()), value] for k, value in said.items()}
            yield found
        if method != CORRECTED:
            yield found | self._whole(method)

    def _observed(self, index: int) -> np.ndarray:
        return self._published.observations[index]

    def _drawn(self, method: str) -> Callable[[int], tuple[np.ndarray, Scores]]:
        draw = training.sampler(self.networks[method])
        return lambda index: (draw(self._observed(index), self._draws, index), {})

    def _corrected(self, index: int) -> tuple[np.ndarray, Scores]:
        found = scoring.weighed(
            *(self.networks["amortised"], self.networks.judge()),
            *(self._observed(index), self._draws, index),
        )
        return found.samples, {"ess": found.ess, "khat": found.khat}

    def _whole(self, method: str) -> Scores:
        """Scores of a network that are of no observation."""
        trained = self.networks[method]
        theta, x = self.networks.test()
        runs = [trained.log_prob(theta, x, run=r) for r in range(trained.runs)]
        mean = np.logaddexp.reduce(runs, axis=0) - np.log(trained.runs)
        found: Scores = {"log_prob": float(mean.mean())}
        if trained.runs == 1:
            found["seconds"] = scoring.seconds(trained, self._observed(0))
        if method in self.networks.seconds:
            found["training"] = self.networks.seconds[method]
        return found


def _score(scorer: _Scorer, method: str, path: pathlib.Path) -> None:
    way_out = "remove it to score the network again"
    there = files.read_json(path, way_out) if path.exists() else {}
    if len(there.get("c2st", ())) < scorer.count:
        for scores in scorer.of(method, there):
            files.write_json(path, scores)


def scores_of(workdir: pathlib.Path) -> dict[str, dict[str, dict[str, Scores]]]:
    """All scores of a workdir: `[task][seed][method]`."""
    found: dict[str, dict[str, dict[str, Scores]]] = {}
    for name in sbi.TASKS:
        for path in sorted((workdir / name).glob("seed_*/*.json")):
            seed = path.parent.name.removeprefix("seed_")
            scores = files.read_json(path, "remove it to score the network again")
            found.setdefault(name, {}).setdefault(seed, {})[path.stem] = scores
    return found


def page(found: dict[str, dict[str, dict[str, Scores]]], budget: Budget) -> str:
    """The tables of a study as one Markdown page."""
    intro = (
        f"{budget.simulations:,} simulations a task; C2ST by the benchmark's rule "
        "(scikit-learn's MLP, five folds) of 10,000 draws against 10,000 samples of "
        "the exact posterior, 0.5 is the best there is. Mean over the published "
        "observations ± their standard deviation, each the mean over seeds; the "
        "difference ± its 95 % interval over seeds."
    )
    made = [_accuracies(found), _weights(found), _costs(found)]
    text = map(table.to_markdown, (each for each in made if each.rows))
    return "\n".join(["# Posteriors of simulators\n", f"{intro}\n", *text])


def _accuracies(found: dict[str, Any]) -> Table:
    rows = []
    for name, by_seed in found.items():
        known = scoring.PUBLISHED[name]
        cells = [_spread(by_seed, method) for method in JUDGED]
        sd = "" if known.npe_sd is None else f" ± {known.npe_sd:.3f}"
        rows.append(
            (
                *(name, f"{known.npe:.3f}{sd}", cells[0], cells[1]),
                *(_difference(by_seed, "student", "teacher"), f"{known.nle:.3f}"),
                *cells[2:],
            )
        )
    header = (
        *("task", "NPE, published", NAMES["teacher"], NAMES["student"]),
        *("student - teacher", "NLE with MCMC, published"),
        *(NAMES["amortised"], NAMES[CORRECTED]),
    )
    notes = (
        "published: Lueckmann et al. (2021), 10,000 simulations, mean and standard "
        "deviation over the ten observations; gaussian_mixture by the authors' rerun.",
        "student of NLE: couplings that learnt the posterior of the flows of p(x given "
        "theta), without Markov chains; corrected: its draws as proposals of "
        "independent chains at that posterior.",
    )
    return Table("C2ST", header, tuple(rows), notes)


def _weights(found: dict[str, Any]) -> Table:
    rows = []
    for name, by_seed in found.items():
        said = [scores[CORRECTED] for scores in by_seed.values() if CORRECTED in scores]
        if said:
            ess, khat = (np.concatenate([s[key] for s in said]) for key in _WEIGHTS)
            rows.append(
                (
                    *(name, f"{ess.mean():.3f}", f"{ess.min():.3f}"),
                    *(f"{np.median(khat):.2f}", f"{khat.max():.2f}"),
                )
            )
    header = ("task", "ESS / N", "least", "Pareto k, median", "largest")
    note = (
        "importance weights of the posterior of the likelihood flows over its student, "
        "over observations and seeds; from k = 0.7 on they cannot be trusted."
    )
    return Table("Student of NLE against its judge", header, tuple(rows), (note,))


_WEIGHTS = ("ess", "khat")


def _costs(found: dict[str, Any]) -> Table:
    rows = []
    methods = ("teacher", "student", "amortised")
    for name, by_seed in found.items():
        cells = []
        for key, scale, digits in (("log_prob", 1, 3), ("seconds", 1e3, 0)):
            for method in methods[key == "seconds" :]:
                values = [s[method][key] for s in by_seed.values() if method in s]
                cells.append(f"{scale * np.mean(values):.{digits}f}" if values else "")
        rows.append((name, *cells))
    header = (
        "task",
        *(f"log q, {NAMES[m]}" for m in methods),
        *(f"ms, {NAMES[m]}" for m in methods[1:]),
    )
    note = (
        "log q: mean log density of the parameters of simulations held out, in nats; "
        "ms: 10,000 draws for one x, median, compiled before."
    )
    return Table("Likelihood and time", header, tuple(rows), (note,))


def _per_observation(by_seed: dict[str, Any], method: str) -> np.ndarray | None:
    """`[seeds, observations]` of those that all seeds have; None without any."""
    given = [scores[method]["c2st"] for scores in by_seed.values() if method in scores]
    if not given:
        return None
    least = min(map(len, given))
    return np.array([values[:least] for values in given])


def _spread(by_seed: dict[str, Any], method: str) -> str:
    values = _per_observation(by_seed, method)
    if values is None:
        return ""
    each = values.mean(0)
    sd = f" ± {each.std(ddof=1):.3f}" if len(each) > 1 else ""
    return f"{each.mean():.3f}{sd}"


def _difference(by_seed: dict[str, Any], one: str, other: str) -> str:
    paired = [scores for scores in by_seed.values() if {one, other} <= {*scores}]
    gaps = [
        np.mean(scores[one]["c2st"]) - np.mean(scores[other]["c2st"])
        for scores in paired
    ]
    found = stats.over(gaps)
    if found is None:
        return ""
    half = "" if found.half_width is None else f" ± {found.half_width:.3f}"
    return f"{found.mean:+.3f}{half}"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.experiments.sbi.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def several(of: type) -> Any:
        return lambda text: tuple(of(part) for part in text.split(",") if part)

    parser.add_argument("--workdir", required=True, help="directory of the results")
    for name, of, default, told in (
        ("tasks", str, tuple(sbi.TASKS), "with commas"),
        ("seeds", int, (0,), "with commas"),
        ("judged", str, JUDGED, "what is scored, with commas"),
    ):
        shown = ",".join(map(str, default))
        told = f"{told} (default: {shown})"
        parser.add_argument(f"--{name}", type=several(of), default=default, help=told)
    parser.add_argument(
        "--reference",
        help="wheel of sbibm 1.1.0, or sbibm.npz; found in the data directory",
    )
    for name, default, told in (
        ("own", 0, "observations that metrics.c2st judges as well"),
        ("jobs", 2, "processes of the classifier test"),
        ("observations", sbibm.OBSERVATIONS, "of the ten, that are scored"),
        ("draws", sbibm.SAMPLES, "of each network, for each observation"),
    ):
        told = f"{told} (default: {default})"
        parser.add_argument(f"--{name}", type=int, default=default, help=told)
    for field in dataclasses.fields(Budget):
        value: Any = field.default
        told = f"{field.metadata['help']} (default: {value})"
        parser.add_argument(
            f"--{field.name}", type=type(value), default=value, help=told
        )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the study; the exit status, 2 where something must be put right."""
    given = vars(_arguments(argv))
    process.prepare()
    budget = Budget(**{f.name: given.pop(f.name) for f in dataclasses.fields(Budget)})
    workdir = given.pop("workdir")
    try:
        print(run(budget, workdir, **given))
    except (StudyError, DataError, OSError) as error:
        print(f"study of posteriors: {error}", file=sys.stderr)
        return 2
    print(f"Written: {workdir}/{TABLE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    interruption.watch()
    sys.exit(main())
