"""Gaussian students of Gaussian teachers: how losses fare as the dimension grows.

  python -m fdnf.experiments.gaussian.study --workdir=runs/gaussian

Writes to the workdir:
  figure_2.png       log-likelihood under the teacher of its own and of student samples
  figure_3.png       probability of the expansion signal while KL students train
  proposition_1.png  that probability before training, for random teachers
  table.md           all numbers, with intervals over seeds
  results/, arrays.npz, settings.json   what they are made of

Everything is trained once: the same command given again draws figures and tables anew.
The defaults are the setting of Huang et al. (2019), sections 3.2 and 4.1.1, with
students that start at R = I, mu = 0 (the paper does not say); about four minutes on two
CPU cores. JAX_PLATFORMS picks the device.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdnf import files
from fdnf.data import paths
from fdnf.evaluation.core import scores, stored
from fdnf.evaluation.core.scores import Result
from fdnf.evaluation.tables import table, view
from fdnf.evaluation.tasks import gaussian
from fdnf.experiments.gaussian import figures, numbers, proposition_1, training
from fdnf.experiments.gaussian.training import Settings, StudyError
from fdnf.train import interruption, process, writers

RESULTS, ARRAYS, TABLE = "results", "arrays.npz", "table.md"
SETTINGS = "settings.json"
# Random teachers of each T, whose expansion probability is exact.
TEACHERS = 64
DIMENSIONS = (2, 4, 8, 16, 32, 64, 128)


def run(
    settings: Settings,
    workdir: str | pathlib.Path,
    centres: Sequence[str] = tuple(figures.CENTRES),
) -> str:
    """Trains what is not trained yet, then writes figures and tables.

    Args:
      settings: of the training.
      workdir: of the results; made if absent.
      centres: of the expansion signal, a panel of figure 3 each.

    Returns:
      The tables as Markdown.

    Raises:
      StudyError: for unknown centres, or a workdir whose results have other settings.
    """
    unknown = sorted(set(centres) - set(figures.CENTRES))
    if unknown or not centres:
        raise StudyError(
            f"centres {list(centres)}: expected some of {list(figures.CENTRES)}"
        )
    workdir = paths.expanded(workdir)
    if not _finished(settings, workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = _trained(settings, workdir / RESULTS)
        with files.replacing(workdir / ARRAYS) as file:
            np.savez_compressed(file, **arrays)
        # Last: settings that are there say that all is.
        files.write_json(workdir / SETTINGS, _plain(settings))
    return _draw(settings, workdir, centres)


def page(settings: Settings, results: Sequence[Result]) -> str:
    """The tables of a study as one Markdown page."""
    views = [gaussian.LIKELIHOODS, gaussian.DISTANCES]
    if len(settings.losses) > 1:
        views.append(gaussian.PAIRS._replace(against=settings.losses[0]))
    views.append(gaussian.PROPOSITION)
    intro = (
        f"Teachers x = mu + R z with R_ij ~ N(0, 1) and every mu_i = "
        f"{settings.teacher_mean:g}; students of the same form from R = "
        f"{'I' if settings.init == 'identity' else 'N(0, 1) draws'}, mu = 0. "
        f"{settings.steps:,} updates of Adam at {settings.lr:g} with batches of "
        f"{settings.batch}; {settings.seeds} seeds, each with a teacher of its own, "
        f"from seed {settings.seed}; {settings.samples:,} samples of each model."
    )
    tables = map(table.to_markdown, view.page(views, results))
    return "\n".join(["# Gaussian teachers and students\n", f"{intro}\n", *tables])


def _finished(settings: Settings, workdir: pathlib.Path) -> bool:
    path = workdir / SETTINGS
    if not path.exists() or not (workdir / ARRAYS).exists():
        return False
    there = files.read_json(path, "remove it to train the study again")
    wanted = _plain(settings)
    other = sorted(k for k in wanted if there.get(k) != wanted[k])
    if other:
        has = ", ".join(f"{k}={there.get(k)}" for k in other)
        raise StudyError(
            f"{workdir} holds a study with {has}, where {', '.join(other)} should be "
            f"{', '.join(str(wanted[k]) for k in other)}: give another --workdir, or "
            f"the settings it has, or remove its {SETTINGS}"
        )
    return True


def _plain(settings: Settings) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def _trained(settings: Settings, folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Trains all; writes a result a seed, and returns what the figures show."""
    arrays = {}
    plan = [(loss, dim) for dim in settings.dimensions for loss in settings.losses]
    with writers.Progress(settings.steps * len(plan), label="gaussian") as shown:
        for i, (loss, dim) in enumerate(plan):

            def report(step, value, done=i * settings.steps, dim=dim, loss=loss):
                shown.update(done + step, T=dim, **{f"{loss} loss": value})

            trained = training.train(settings, loss, dim, report)
            name = f"{loss}/{dim}"
            for result in numbers.measure(trained, loss):
                scores.write(result, folder / f"T_{dim}")
            teacher, student = numbers.likelihoods(trained)
            arrays |= {
                f"{name}/teacher": teacher.astype(np.float32),
                f"{name}/student": student.astype(np.float32),
                f"{name}/steps": trained.steps,
                f"{name}/loss": trained.loss,
            }
            for centre, values in trained.signal.items():
                arrays[f"{name}/signal/{centre}"] = values
    return arrays


def _draw(settings: Settings, workdir: pathlib.Path, centres: Sequence[str]) -> str:
    results = stored.read(workdir / RESULTS)
    with np.load(workdir / ARRAYS) as found:
        arrays = dict(found)
    figures.likelihoods(settings, results, arrays, workdir / "figure_2.png")
    with_signal = [k for k in settings.losses if k in training.WITH_SIGNAL]
    if with_signal:
        path = workdir / "figure_3.png"
        figures.signals(settings, arrays, path, centres, with_signal[0])
    groups = proposition_1.over_dimensions(DIMENSIONS, TEACHERS, settings.seed)
    figures.random_teachers(DIMENSIONS, groups, workdir / "proposition_1.png")
    text = page(settings, [*results, *proposition_1.results(DIMENSIONS, groups)])
    files.write_text(workdir / TABLE, text)
    return text


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.experiments.gaussian.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def several(of: type) -> Any:
        return lambda text: tuple(of(part) for part in text.split(",") if part)

    parser.add_argument("--workdir", required=True, help="directory of the results")
    for field in dataclasses.fields(Settings):
        value: Any = field.default
        kind, shown = type(value), value
        if isinstance(value, tuple):
            kind, shown = several(type(value[0])), ",".join(map(str, value))
        told = f"{field.metadata['help']} (default: {shown})"
        parser.add_argument(f"--{field.name}", type=kind, default=value, help=told)
    parser.add_argument(
        "--centre",
        type=several(str),
        default=tuple(figures.CENTRES),
        help="of the expansion signal: teacher_mode (the paper's), student_mean, or "
        "both with a comma (default); drawn anew without training",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the study; the exit status, 2 where something must be put right."""
    given = vars(_arguments(argv))
    process.prepare()
    workdir, centres = given.pop("workdir"), given.pop("centre")
    try:
        print(run(Settings(**given), workdir, centres))
    except (StudyError, OSError) as error:
        print(f"gaussian study: {error}", file=sys.stderr)
        return 2
    print(f"Written: {workdir}/{TABLE} and figures beside it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    interruption.watch()
    sys.exit(main())
