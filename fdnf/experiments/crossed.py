"""Every kind of flow teaches every other: what a student gains by each teacher.

  python -m fdnf.experiments.crossed --out=runs/crossed --data=miniboone_small

Teachers of each kind are trained, and half as large students of each kind: alone, and
by each teacher and method (`fdnf.distil`). What cannot be is refused before training,
and the table says why. Writes to `--out`, where finished runs are kept, so that the
same command goes on where it stood:

  table.md     of each method a table, teachers down and students across: the gain in
               log-likelihood of test rows over the student alone, in nats, with its
               95 % interval over seeds; refusals with their reasons
  scores.json  every log-likelihood
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fdnf import files, fitting
from fdnf.data import build as datasets
from fdnf.data.tabular import DataError, Tabular
from fdnf.evaluation.core import stats
from fdnf.evaluation.tables import table as markup
from fdnf.evaluation.tables.table import Table
from fdnf.flows import iresnet, maf, nice, realnvp
from fdnf.flows.base import FlowModule
from fdnf.flows.continuous import ContinuousFlow
from fdnf.flows.glow import TabularGlow
from fdnf.flows.tarflow import TarFlow
from fdnf.train import process
from fdnf.train.rules import ConfigError

SPLINE = {"name": "spline", "bins": 8, "box": 4.0}
BOTH = {"name": "compose", "parts": ("affine", SPLINE)}


class Kind(NamedTuple):
    """A kind of flow on vectors, as a teacher and as a student half as large.

    Attributes:
        teacher: None of what has a slow density, by which it would be trained.
        student: the smaller one; None of what only teaches.
    """

    teacher: FlowModule | None
    student: FlowModule | None


KINDS: dict[str, Kind] = {
    "maf": Kind(maf.MAF(6, (32, 32)), maf.MAF(3, (32, 32))),
    "maf_spline": Kind(
        maf.MAF(4, (32, 32), transformer=BOTH), maf.MAF(2, (32, 32), transformer=BOTH)
    ),
    "glow": Kind(TabularGlow(6, 32), TabularGlow(3, 32)),
    "realnvp": Kind(
        *(
            realnvp.RealNVP(
                n, (32, 32), transformer=SPLINE, partition="half", mixing="lu"
            )
            for n in (8, 4)
        )
    ),
    "nice": Kind(nice.NICE(8, (64, 64)), nice.NICE(4, (64, 64))),
    "iresnet": Kind(iresnet.IResNet(8, (32, 32)), iresnet.IResNet(4, (32, 32))),
    "tarflow": Kind(TarFlow(4, 1, 32), TarFlow(2, 1, 32)),
    # Six levels, as the longest student has; a student's every step would solve a path.
    "continuous": Kind(ContinuousFlow((64, 64), levels=6, steps=2), None),
    "iaf": Kind(None, maf.IAF(6, (32, 32))),
}
# Arguments of `fdnf.distil`, by what tables call a method.
METHODS: dict[str, dict[str, Any]] = {
    "lkd": {"method": "lkd"},
    "ilkd": {"method": "ilkd", "loss": {"heads": True, "normalise": True}},
    "samples": {
        "method": "lkd",
        "loss": {"args.weights": (1.0, 0.0, 0.0)},
        "samples": 50_000,
    },
    "x": {"method": "x"},
    "guided": {"method": "guided"},
}
# Of students without a fast density: they learn to draw.
SAMPLERS = ("x", "guided")


class Budget(NamedTuple):
    """What each training takes."""

    steps: int = 2000
    batch_size: int = 512
    lr: float = 1e-3
    runs: int = 3
    seed: int = 0


class Crossed(NamedTuple):
    """What was found, all by the names of kinds and methods.

    Attributes:
        alone: teacher or student to its log-likelihoods, one a seed.
        taught: (teacher, student, method) to those of the student.
        refused: likewise, to the reason.
    """

    alone: dict[tuple[str, str], list[float]]
    taught: dict[tuple[str, str, str], list[float]]
    refused: dict[tuple[str, str, str], str]


def run(
    data: Tabular,
    out: str | pathlib.Path,
    budget: Budget | None = None,
    kinds: Sequence[str] = tuple(KINDS),
    methods: Sequence[str] = tuple(METHODS),
    progress: bool = True,
) -> Crossed:
    """Trains and scores everything.

    Args:
      data: vectors; a condition beside them is left out.
      out: directory in which trainings are kept.
      budget: of each; None for the usual one.
      kinds: of `KINDS`.
      methods: of `METHODS`.
      progress: whether bars are shown.
    """
    out, budget = pathlib.Path(out), budget or Budget()
    found = Crossed({}, {}, {})
    how = {
        **{"steps": budget.steps, "batch_size": budget.batch_size, "lr": budget.lr},
        **{"seed": budget.seed, "progress": progress},
        "options": {"runs": budget.runs},
        "validation": data.val,
    }
    taught = {}
    for name in kinds:
        for role in ("teacher", "student"):
            flow = getattr(KINDS[name], role)
            if flow is None or (role == "student" and KINDS[name].teacher is None):
                continue
            place = out / role / name
            trained = fitting.fit(flow, data.train, workdir=place, **how)
            found.alone[role, name] = scores_of(trained, data.test)
            if role == "teacher":
                taught[name] = trained
            process.release_programs()
    for teacher, trained in taught.items():
        for student in kinds:
            for method in methods:
                _teach(found, out, data, trained, (teacher, student, method), how)
                process.release_programs()
    return found


def _teach(
    found: Crossed,
    out: pathlib.Path,
    data: Tabular,
    trained: Any,
    names: tuple[str, str, str],
    how: Mapping[str, Any],
) -> None:
    teacher, student, method = names
    flow = KINDS[student].student
    if flow is None:
        return
    sampler = KINDS[student].teacher is None
    if sampler != (method in SAMPLERS):
        why = "a density is slow: it learns by x or guided" if sampler else ""
        if why:
            found.refused[names] = why
        return
    if isinstance(trained.flow, maf.MAF) and sampler and method == "guided":
        flow = maf.IAF.of(trained.flow)
    arguments = {**METHODS[method], **how}
    place = out / "taught" / teacher / student / method
    try:
        made = fitting.distil(trained, flow, data.train, workdir=place, **arguments)
    except (ConfigError, ValueError) as error:
        found.refused[names] = " ".join(str(error).split())
        return
    found.taught[names] = scores_of(made, data.test)


def scores_of(trained: Any, rows: np.ndarray) -> list[float]:
    """Mean log-likelihood of rows, in nats, one a run."""
    return [float(np.mean(trained.log_prob(rows, run=r))) for r in range(trained.runs)]


def tables(found: Crossed) -> list[Table]:
    """Of each method a table of gains, and one of what was refused."""
    names = [name for role, name in found.alone if role == "teacher"]
    alone = Table(
        "By themselves",
        ("", *names),
        tuple(
            (role, *(_interval(found.alone.get((role, n)), 0) for n in names))
            for role in ("teacher", "student")
        ),
        ("log-likelihood of test rows, nats; ± 95 % interval over seeds",),
    )
    made = [alone]
    for method in METHODS:
        keys = [k for k in (*found.taught, *found.refused) if k[2] == method]
        students = list(dict.fromkeys(k[1] for k in keys))
        if any(k in found.taught for k in keys):
            made.append(_table(found, method, names, students))
    reasons: dict[str, list[str]] = {}
    for (teacher, student, method), why in found.refused.items():
        reasons.setdefault(why, []).append(f"{teacher} to {student} by {method}")
    if reasons:
        rows = tuple((", ".join(which), why) for why, which in reasons.items())
        made.append(Table("Refused before training", ("", "reason"), rows))
    return made


def _table(
    found: Crossed, method: str, teachers: Sequence[str], students: Sequence[str]
) -> Table:
    rows = []
    for teacher in teachers:
        cells = []
        for student in students:
            got = found.taught.get((teacher, student, method))
            base = found.alone.get(("student", student))
            cells.append(
                _interval(got, 0 if base is None else base)
                if got is not None
                else "refused"
            )
        rows.append((teacher, *cells))
    gains = method not in SAMPLERS
    note = (
        "teachers down, students across: gain over the student alone, nats; ** where "
        "its 95 % interval over seeds leaves out 0"
        if gains
        else "teachers down: log-likelihood of test rows, nats"
    )
    return Table(method, ("", *students), tuple(rows), (note,))


def _interval(values: Sequence[float] | None, base: Any) -> str:
    if values is None:
        return ""
    interval = stats.over(np.asarray(values) - np.asarray(base))
    if interval is None or not np.isfinite(interval.mean):
        return "not finite"
    text = f"{interval.mean:+.2f}" if np.ndim(base) else f"{interval.mean:.2f}"
    if interval.half_width is not None:
        text += f" ± {interval.half_width:.2f}"
    return f"**{text}**" if np.ndim(base) and interval.excludes_zero() else text


def write(found: Crossed, out: str | pathlib.Path) -> str:
    """Writes tables and numbers; returns the tables."""
    text = "\n".join(markup.to_markdown(table) for table in tables(found))
    files.write_text(pathlib.Path(out) / "table.md", text)
    plain = {
        part: {" ".join(key): value for key, value in named.items()}
        for part, named in found._asdict().items()
    }
    files.write_json(pathlib.Path(out) / "scores.json", plain)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.experiments.crossed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="directory of all that is made")
    parser.add_argument("--data", default="synthetic", help="name of vectors")
    parser.add_argument(
        "--args", default="{}", help='of the data set, as JSON: {"subset": true}'
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="with commas")
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas")
    for name, value in Budget()._asdict().items():
        parser.add_argument(
            f"--{name}", type=type(value), default=value, help="default: %(default)s"
        )
    given = parser.parse_args(arguments)
    try:
        kinds = _known(given.kinds, KINDS)
        methods = _known(given.methods, METHODS)
        args = json.loads(given.args)
        data = datasets.build(ConfigDict({"name": given.data, "args": args}))
        if not isinstance(data, Tabular):
            raise ConfigError(f"--data={given.data}: expected vectors")
        budget = Budget(*(getattr(given, name) for name in Budget._fields))
        found = run(data, given.out, budget, kinds, methods)
    except (ConfigError, DataError, ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(write(found, given.out))
    return 0


def _known(given: str, table: Mapping[str, Any]) -> list[str]:
    names = given.split(",")
    if unknown := sorted(set(names) - {*table}):
        raise ConfigError(f"unknown {unknown}; known: {', '.join(table)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
