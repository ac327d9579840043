"""Gaussian students of Gaussian teachers: how losses fare as the dimension grows.

  python -m fdnf.experiments.gaussian.study --workdir=runs/gaussian

Writes to the workdir:
  figure_2.png       log-likelihood under the teacher of its own and of student samples
  figure_3.png       probability of the expansion signal while KL students train
  proposition_1.png  that probability in closed form and by draws
  table.md           all numbers, with intervals over seeds
  results.json, arrays.npz   what they are made of

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
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdnf import files
from fdnf.data import paths
from fdnf.experiments.gaussian import figures as gaussian_figures
from fdnf.experiments.gaussian import numbers as gaussian_numbers
from fdnf.experiments.gaussian import proposition_1, proposition_report
from fdnf.experiments.gaussian import table as gaussian_table
from fdnf.experiments.gaussian import training as gaussian_training
from fdnf.experiments.gaussian.training import Settings, StudyError
from fdnf.train import interruption, process, writers

RESULTS, ARRAYS, TABLE = "results.json", "arrays.npz", "table.md"
# Draws behind each case of Proposition 1, and teachers of each T.
PROPOSITION_ROWS, PROPOSITION_TEACHERS = 20_480, 64
PROPOSITION_DIMENSIONS = (2, 4, 8, 16, 32, 64, 128)


def run(
    settings: Settings,
    workdir: str | pathlib.Path,
    centres: Sequence[str] = tuple(gaussian_figures.CENTRES),
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
    unknown = sorted(set(centres) - set(gaussian_figures.CENTRES))
    if unknown or not centres:
        raise StudyError(
            f"centres {list(centres)}: expected some of "
            f"{list(gaussian_figures.CENTRES)}"
        )
    workdir = paths.expanded(workdir)
    if not _finished(settings, workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        results, arrays = _trained(settings)
        held: dict[str, Any] = dict(arrays)
        with files.replacing(workdir / ARRAYS) as file:
            np.savez_compressed(file, **held)
        # Last: results that are there are whole.
        files.write_json(workdir / RESULTS, results, indent=1)
    return _draw(workdir, centres)


def _finished(settings: Settings, workdir: pathlib.Path) -> bool:
    path = workdir / RESULTS
    if not path.exists() or not (workdir / ARRAYS).exists():
        return False
    there = _read(path)["settings"]
    wanted = _plain(settings)
    other = sorted(k for k in wanted if there.get(k) != wanted[k])
    if other:
        has = ", ".join(f"{k}={there.get(k)}" for k in other)
        raise StudyError(
            f"{workdir} holds a study with {has}, where {', '.join(other)} should be "
            f"{', '.join(str(wanted[k]) for k in other)}: give another --workdir, or "
            f"the settings it has, or remove its {RESULTS}"
        )
    return True


def _read(path: pathlib.Path) -> dict[str, Any]:
    way_out = "remove it to train the study again"
    found = files.read_json(path, way_out)
    if not isinstance(found.get("settings"), dict):
        raise files.DamagedError(f"{path}: no settings in it; {way_out}")
    return found


def _plain(settings: Settings) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def _trained(settings: Settings) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    begun = time.monotonic()
    cells, arrays = {}, {}
    plan = [(loss, dim) for dim in settings.dimensions for loss in settings.losses]
    with writers.Progress(settings.steps * len(plan), label="gaussian") as shown:
        for i, (loss, dim) in enumerate(plan):

            def report(step, value, done=i * settings.steps, dim=dim, loss=loss):
                shown.update(done + step, T=dim, **{f"{loss} loss": value})

            trained = gaussian_training.train(settings, loss, dim, report)
            name = f"{loss}/{dim}"
            cells[name] = gaussian_numbers.measure(trained)
            pair = gaussian_numbers.likelihoods(trained)
            arrays |= {
                f"{name}/teacher": pair[0].astype(np.float32),
                f"{name}/student": pair[1].astype(np.float32),
                f"{name}/steps": trained.steps,
                f"{name}/loss": trained.loss,
            }
            for centre, values in trained.signal.items():
                arrays[f"{name}/signal/{centre}"] = values
    results = {
        "settings": _plain(settings),
        "quantities": gaussian_numbers.QUANTITIES,
        "cells": cells,
        "proposition_1": _proposition(settings.seed),
        "seconds": round(time.monotonic() - begun, 1),
    }
    return results, arrays


def _proposition(seed: int) -> dict[str, Any]:
    cases = [
        proposition_1.by_draws(case, PROPOSITION_ROWS, seed)
        for case in proposition_1.cases(seed)
    ]
    return {
        "cases": [case._asdict() | {"error": case.error} for case in cases],
        "dimensions": list(PROPOSITION_DIMENSIONS),
        "over_dimensions": proposition_1.over_dimensions(
            PROPOSITION_DIMENSIONS, PROPOSITION_TEACHERS, seed
        ),
    }


def _draw(workdir: pathlib.Path, centres: Sequence[str]) -> str:
    results = _read(workdir / RESULTS)
    with np.load(workdir / ARRAYS) as stored:
        arrays = dict(stored)
    gaussian_figures.likelihoods(results, arrays, workdir / "figure_2.png")
    with_signal = [
        loss
        for loss in results["settings"]["losses"]
        if loss in gaussian_training.WITH_SIGNAL
    ]
    if with_signal:
        path = workdir / "figure_3.png"
        gaussian_figures.signals(results, arrays, path, centres, with_signal[0])
    proposition_report.figure(results, workdir / "proposition_1.png")
    table = gaussian_table.page(results)
    files.write_text(workdir / TABLE, table)
    return table


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.experiments.gaussian.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Settings()

    def several(of):
        return lambda text: tuple(of(part) for part in text.split(",") if part)

    def option(name, kind, text):
        value = getattr(default, name)
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        parser.add_argument(
            f"--{name}", type=kind, default=value, help=f"{text} (default: {shown})"
        )

    parser.add_argument("--workdir", required=True, help="directory of the results")
    option("dimensions", several(int), "T of the teachers, with commas")
    known = ", ".join(gaussian_training.LOSSES)
    option("losses", several(str), f"with commas, out of {known}")
    option("seeds", int, "teachers of each T, whose students train side by side")
    option("seed", int, "of all that is drawn")
    option("steps", int, "updates of each student")
    option("batch", int, "rows of an update")
    option("lr", float, "learning rate of Adam")
    option("init", str, "of the students' R: identity or normal")
    option("teacher_mean", float, "every entry of the teachers' mu")
    option("samples", int, "of each teacher and student, for figure 2")
    option("signal_rows", int, "draws behind each point of figure 3")
    option("signal_every", int, "updates between the points of figure 3")
    parser.add_argument(
        "--centre",
        type=several(str),
        default=tuple(gaussian_figures.CENTRES),
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
        print(f"gaussian_study: {error}", file=sys.stderr)
        return 2
    print(f"Written: {workdir}/{TABLE} and figures beside it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    interruption.watch()
    sys.exit(main())
