"""What exact correction is worth: samples of a teacher by its student, and by itself.

  python -m fdnf.experiments.corrected runs/bsds300/guided --rows 10000

Each run of a trained student is corrected by its teacher (`fdnf.corrected_sample`) and
held against it: can a classifier tell the corrected samples from the teacher's own, and
how many does a second bring, beside the teacher's two ways to draw: one pass of its
network a dimension, and the faster exact inverse that flows of this package have.

A sample counts as effective if it repeats no other. Weighted proposals are the cheapest
form for averages: their effective size is that of the importance weights. Times are of
compiled programs on one machine, those of chains and of resampling with all that comes
to it: the pilot, the weights, the moves.
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fdnf import corrected, files
from fdnf.data import build as datasets
from fdnf.data.tabular import DataError
from fdnf.evaluation.core import scores, stats
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.scorers import cost
from fdnf.evaluation.tables import table as markup
from fdnf.evaluation.tables.table import Table
from fdnf.evaluation.tasks import exact
from fdnf.metrics import c2st
from fdnf.train import process, teachers
from fdnf.train.rules import ConfigError
from fdnf.train.stored import CheckpointError
from fdnf.train.teachers import Trained

NAIVE, FAST, STUDENT = "teacher, pass a dimension", "teacher, inverse", "student"
WEIGHTED = "weighted proposals"
_TEST = 2  # The split whose conditions are taken.


def measure(
    trained: Trained,
    run: int,
    rows: int,
    *,
    teacher: Trained | None = None,
    methods: Sequence[str] = corrected.METHODS,
    batch: int = 4096,
    seed: int = 0,
    judged: bool = True,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """What one run of a student is worth, each way to draw by its name.

    Args:
        trained: the student, of vectors.
        run: which of its runs.
        rows: samples of each way.
        teacher: of the student; by default the one it learned from.
        methods: of the correction.
        batch: rows at once, of all ways.
        seed: of all that is drawn.
        judged: whether a classifier looks at them.
        **options: further arguments of `fdnf.corrected_sample`.

    Returns:
        Of each way `rows_a_second`, effective ones; `c2st`, against samples of the
        teacher, and its standard error; `against_naive` and `against_fast`, how many
        times as many a second as the teacher's two ways bring; and of corrected ones
        what `exact.Drawn.about` says.

    Raises:
        ConfigError: there is no teacher, or it saw other data.
    """
    judge = teacher or teachers.teacher_of(trained)
    event = trained.event
    taken, by_run = teachers.match(judge, event, trained.runs, trained.preprocess)
    if by_run:
        taken = jax.tree.map(lambda leaf: leaf[run], taken)
    cond = _conditions(trained, rows, seed)
    flow, variables = trained.of_run(run)
    own = samplers.Sampler(flow, variables, trained.preprocess, batch)
    theirs = samplers.Sampler(judge.flow, taken, trained.preprocess, batch)
    size = min(batch, rows)
    given = None if cond is None else cond[:size]
    some = np.asarray(jax.random.normal(jax.random.key(seed), (size, *event)))
    times = {s.metric: s for s in cost.alone(theirs, some, given, by_dimension=True)}
    mine = {s.metric: s for s in cost.alone(own, some, given, density=False)}
    found: dict[str, dict[str, Any]] = {
        name: {"rows_a_second": 1e3 * (score.n or 0) / score.value}
        for name, score in (
            (NAIVE, times.get("naive_ms")),
            (FAST, times["sampling_ms"]),
            (STUDENT, mine["sampling_ms"]),
        )
        if score is not None
    }
    shape = (rows, *event)
    key = functools.partial(jax.random.fold_in, jax.random.key(seed))
    drawn = {
        FAST: theirs.weighed(key(1), shape, cond)[0],
        STUDENT: own.weighed(key(2), shape, cond)[0],
    }
    for i, method in enumerate(methods):
        correct = functools.partial(
            corrected.corrected_sample,
            *(flow, judge.flow, variables, taken, key(3 + i), rows, cond),
            **{"event": event, "batch": batch, "method": method, **options},
        )
        made = exact.timed(correct)
        drawn[method] = np.asarray(made.found.x)
        found[method] = {"rows_a_second": made.rows_a_second, **made.about}
        found.setdefault(WEIGHTED, {"rows_a_second": made.weighted_a_second})
    for each in found.values():
        for name, base in (("against_naive", NAIVE), ("against_fast", FAST)):
            if base in found:
                mean = found[base]["rows_a_second"]
                each[name] = each["rows_a_second"] / mean
    if judged:
        real = _flat(theirs.weighed(key(0), shape, cond)[0], cond)
        for name, x in drawn.items():
            told = c2st.c2st(_flat(x, cond), real, seed=seed)
            found[name] |= {"c2st": told.accuracy, "c2st_se": told.standard_error}
    return found


def _conditions(trained: Trained, rows: int, seed: int) -> np.ndarray | None:
    """Those of test rows in turn, as the flow sees them, if it takes any."""
    if trained.preprocess.condition_shape(trained.event) is None:
        return None
    data: Any = datasets.build(trained.config.data)
    _, cond = samplers.rows_of(trained, data, _TEST, rows, seed)
    assert cond is not None
    return cond[np.arange(rows) % len(cond)]


def _flat(x: np.ndarray, cond: np.ndarray | None) -> np.ndarray:
    """Rows with their conditions, which a classifier is to see."""
    return x if cond is None else np.concatenate([x, cond.reshape(len(x), -1)], axis=1)


def table(found: Sequence[dict[str, dict[str, Any]]], rows: int) -> Table:
    """All runs in one table: means, with the interval over runs where there are two."""

    def cell(way: str, key: str, digits: int, scale: float = 1.0) -> str:
        values = [scale * run[way][key] for run in found if key in run.get(way, {})]
        interval = stats.over(values)
        if interval is None:
            return ""
        text = f"{interval.mean:,.{digits}f}"
        if interval.half_width is not None:
            text += f" ± {interval.half_width:,.{digits}f}"
        return text

    columns = (
        ("C2ST against the teacher", "c2st", 4, 1.0),
        ("effective a second", "rows_a_second", 0, 1.0),
        ("× pass a dimension", "against_naive", 1, 1.0),
        ("× inverse", "against_fast", 2, 1.0),
        ("passes a row", "rounds_a_row", 1, 1.0),
        ("accepted, %", "acceptance", 1, 100.0),
        ("ESS/N, %", "ess_share", 1, 100.0),
        ("k-hat", "khat", 2, 1.0),
        ("total variation left", "total_variation", 4, 1.0),
        ("of the student", "total_variation_uncorrected", 3, 1.0),
        ("repeated, %", "repeated", 2, 100.0),
    )
    ways = list(dict.fromkeys(way for run in found for way in run))
    lines = [(way, *(cell(way, *of[1:]) for of in columns)) for way in ways]
    told = {
        clause
        for run in found
        for way in run.values()
        for clause in way.get("told", ())
    }
    return Table(
        f"Exact samples of a teacher by its student ({rows:,} rows)",
        ("", *(name for name, *_ in columns)),
        tuple(lines),
        (
            f"{len(found)} run(s), ± is the half-width of the 95 % interval over them.",
            *sorted(f"Not to be trusted: {clause}." for clause in told),
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table of a workdir; the exit status."""
    files.print_anything()
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.experiments.corrected",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "workdirs", nargs="+", metavar="WORKDIR", help="of trained students, or files"
    )
    parser.add_argument("--teacher", help="workdir or file, of a teacher that moved")
    parser.add_argument("--rows", type=int, default=10_000, help="of each way to draw")
    parser.add_argument("--batch", type=int, default=4096, help="rows at once")
    parser.add_argument("--steps", type=int, help="proposals a row, measured without")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-c2st", action="store_true", help="speed alone")
    parser.add_argument(
        *("--methods", "--method"),
        nargs="+",
        choices=corrected.METHODS,
        default=corrected.METHODS,
    )
    parser.add_argument("--out", type=pathlib.Path, help="JSON file of all figures")
    given = parser.parse_args(arguments)
    process.prepare()
    found = []
    try:
        teacher = None if given.teacher is None else teachers.load(given.teacher)
        for workdir in given.workdirs:
            trained = teachers.load(workdir)
            found += [
                measure(
                    trained,
                    run,
                    given.rows,
                    teacher=teacher,
                    methods=given.methods,
                    batch=given.batch,
                    steps=given.steps,
                    seed=given.seed + run,
                    judged=not given.no_c2st,
                )
                for run in range(trained.runs)
            ]
    except (ConfigError, CheckpointError, DataError, ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(markup.to_markdown(table(found, given.rows)))
    if given.out is not None:
        files.write_json(given.out, scores.plain({"rows": given.rows, "runs": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
