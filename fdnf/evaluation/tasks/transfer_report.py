"""Everything there is to say of students of one teacher's density.

`python -m fdnf.evaluation.tasks.transfer_report WORKDIR` writes it again from the
workdir of a study (`configs/maf_*.py:iaf`), training nothing.
"""

import argparse
import dataclasses
import logging
import math
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fdnf import files
from fdnf.data import build as datasets
from fdnf.data.images import Images
from fdnf.data.tabular import DataError, Tabular
from fdnf.evaluation.core.transfer_records import DATA, FILENAME, TEACHER, Record, Speed
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.pictures import teacher as teacher_pictures
from fdnf.evaluation.scorers import transfer_scores, transfer_speed
from fdnf.evaluation.scorers.transfer_scores import Settings
from fdnf.evaluation.tables import transfer_cells, transfer_table
from fdnf.train import interruption, loop, process, teachers
from fdnf.train.checkpoint import CheckpointError
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

FOLDER, TABLE, PICTURE = "transfer", "transfer.md", "transfer.png"
# A sample is exploded beyond this multiple of the largest |x| of the training rows.
REACH = 3.0
# Rows that a classifier tells apart, and images whose density an inverse
# autoregressive student gives value by value, unless `eval.density_rows` says more.
JUDGED, JUDGED_IMAGES, DENSITY_IMAGES = 5_000, 2_000, 250

_log = logging.getLogger(__name__)


def settings_of(trained: Trained, data: Tabular | Images) -> Settings:
    """The settings that follow from a config's `eval` section.

    Args:
        trained: the teacher; read are `samples`, `batch_size` and `time_batch`.
        data: what it was trained on.
    """
    evaluation = trained.config.eval
    images = isinstance(data, Images)
    density = evaluation.get("density_rows", DENSITY_IMAGES if images else None)
    reach = trained.preprocess.reach(data.train)
    return Settings(
        samples=evaluation.samples,
        density=evaluation.samples if density is None else density,
        judged=min(evaluation.samples, JUDGED_IMAGES if images else JUDGED),
        # Of images one size, so that scores and times share programs.
        batch_size=evaluation.time_batch if images else evaluation.batch_size,
        reach=REACH * reach if reach else math.inf,
        time_batch=evaluation.time_batch,
    )


def write(
    folder: str | pathlib.Path,
    teacher: Trained,
    students: Mapping[str, Trained],
    data: Tabular | Images,
    settings: Settings | None = None,
) -> str:
    """Scores all runs of all students; writes records, tables and a picture.

    Run r of a student is held against run r of the teacher, or its only run. Speed is
    taken of each method's first run. The picture is of the teacher's first run and of
    its students.

    Args:
        folder: gets `transfer.md`, `transfer.png` and
            `transfer/<method>/seed_<n>/transfer.json`.
        teacher: the teacher.
        students: by method; further names than those of `transfer.METHODS` are kept.
        data: what all were trained on.
        settings: how much is done; `settings_of` the teacher by default.

    Returns:
        The tables as Markdown.

    Raises:
        ConfigError: a flow is conditional, or numbers of runs do not fit.
    """
    folder = pathlib.Path(folder)
    _check(teacher, students, data)
    settings = settings or settings_of(teacher, data)
    records: list[Record] = []
    pictured: dict[str, np.ndarray] = {}
    speed = dict(_speeds(teacher, students, data, settings))
    for method, seed, scored in _scored(teacher, students, data, settings):
        _log.info("%s, seed %d, against the teacher", method, seed)
        pictured.setdefault(method, scored.teacher_log_prob)
        # The first run of a method carries its speed.
        taken = speed.pop(method, None)
        made = Record(data.name, method, seed, data.source, scored.scores, taken)
        place = folder / FOLDER / method / f"seed_{seed}"
        files.write_text(place / FILENAME, made.to_json())
        records.append(made)
    text = transfer_table.page(records)
    files.write_text(folder / TABLE, text)
    order = [m for m in transfer_cells.LABELS if m in pictured]
    order += [m for m in pictured if m not in order]
    title = f"{data.name}: samples under the teacher (seed {teacher.config.seed})"
    teacher_pictures.histograms(
        {method: pictured[method] for method in order}, folder / PICTURE, title=title
    )
    return text


def read(folder: str | pathlib.Path) -> list[Record]:
    """The records that `write` left under a folder, in the order of their paths.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file is not a record; the message names it.
    """
    paths = sorted((pathlib.Path(folder) / FOLDER).rglob(FILENAME))
    if not paths:
        raise FileNotFoundError(f"no {FILENAME} under {folder}/{FOLDER}")
    records = []
    for path in paths:
        try:
            records.append(Record.from_json(path.read_text(encoding="utf-8")))
        except ValueError as error:
            told = f"{path}: {error}; write the report again"
            raise files.DamagedError(told) from error
    return records


def again(workdir: str | pathlib.Path) -> str:
    """`write` from the finished runs of a study's workdir.

    Raises:
        ConfigError: no finished student, or none that names a teacher.
    """
    workdir = pathlib.Path(workdir)
    done = sorted(path.parent for path in workdir.glob(f"*/{loop.FINISHED}"))
    students = {
        path.name: teachers.load(path) for path in done if path.name != "teacher"
    }
    named = [
        pathlib.Path(found.config.teacher.workdir)
        for found in students.values()
        if found.config.get("teacher") and found.config.teacher.get("workdir")
    ]
    if not named:
        raise ConfigError(
            f"{workdir} holds no finished student with a teacher: give the workdir of "
            "a study of configs/maf_*.py:iaf, whose directories are its methods"
        )
    # The study may have moved since, with its own teacher in it.
    own = workdir / "teacher"
    teacher = teachers.load(own if (own / loop.FINISHED).exists() else named[0])
    data = datasets.build(teacher.config.data)
    if not isinstance(data, Tabular | Images):
        raise ConfigError(
            f"{workdir} is of {data.name}, whose data have a condition: "
            "python -m fdnf.main --mode=eval evaluates it"
        )
    return write(workdir, teacher, students, data)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status, 2 where something must be put right first."""
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.evaluation.tasks.transfer_report",
        description="Hold the students of a study against their teacher again: "
        f"WORKDIR/{TABLE}, WORKDIR/{PICTURE} and the records under WORKDIR/{FOLDER}.",
    )
    parser.add_argument("workdir", type=pathlib.Path, metavar="WORKDIR")
    workdir = parser.parse_args(arguments).workdir
    # Not the root's level: orbax tells at length what it does.
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("fdnf").setLevel(logging.INFO)
    process.prepare()
    try:
        print(again(workdir))
    except (ConfigError, DataError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Written: {workdir / TABLE}, {workdir / PICTURE}", file=sys.stderr)
    return 0


def _check(
    teacher: Trained, students: Mapping[str, Trained], data: Tabular | Images
) -> None:
    if {TEACHER, DATA} & students.keys():
        raise ConfigError(
            f"students are named {sorted(students)}: {TEACHER!r} and {DATA!r} are the "
            "names of the floors"
        )
    for trained in (teacher, *students.values()):
        if trained.preprocess.classes:
            raise ConfigError(
                "samples of a conditional flow are not held against a teacher's: train "
                "with data.conditional=False"
            )
    for student in students.values():
        teachers.match(teacher, data.event, student.runs, student.preprocess)


def _scored(
    teacher: Trained,
    students: Mapping[str, Trained],
    data: Tabular | Images,
    settings: Settings,
) -> Iterator[tuple[str, int, transfer_scores.Scored]]:
    """Method, seed and scores: for each run of the teacher the floors come first."""
    for run in range(teacher.runs):
        seed = teacher.config.seed + run
        held_out = _rows(teacher, data.test, settings.samples, seed)
        model = _model(teacher, run, settings)
        against = transfer_scores.reference(model, held_out, settings, seed)
        own = transfer_scores.score(against, model, settings)
        # From itself it is 0 nats away, whatever float error makes of that.
        scores = dataclasses.replace(own.scores, reverse_kl=None, forward_kl=None)
        yield TEACHER, seed, own._replace(scores=scores)
        known = _rows(teacher, data.train, settings.samples, seed)
        yield DATA, seed, transfer_scores.score_rows(against, known, settings)
        for method, student in students.items():
            for number in range(student.runs):
                if teacher.runs == 1 or number == run:
                    taught = _model(student, number, settings)
                    scored = transfer_scores.score(against, taught, settings)
                    yield method, student.config.seed + number, scored
            process.release_programs()


def _speeds(
    teacher: Trained,
    students: Mapping[str, Trained],
    data: Tabular | Images,
    settings: Settings,
) -> Iterator[tuple[str, Speed]]:
    """Before anything else, while the machine is quiet."""
    if not settings.time_batch:
        return
    x = _rows(teacher, data.test, settings.time_batch, 0)
    first = transfer_speed.measure(
        _model(teacher, 0, settings), x, by_dimension=settings.naive
    )
    yield TEACHER, first
    known: dict[Any, Speed] = {}
    for method, student in students.items():
        # Students differ in what they learned, which takes no time.
        if student.flow not in known:
            model, density = _model(student, 0, settings), settings.density > 0
            known[student.flow] = transfer_speed.measure(model, x, density=density)
        yield method, known[student.flow]


def _model(trained: Trained, run: int, settings: Settings) -> Sampler:
    return samplers.of(trained, run, settings.batch_size, fold=False)


def _rows(trained: Trained, stored: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows of a split as the flow sees them, drawn without repetition."""
    picked = np.random.default_rng(seed).permutation(len(stored))[:count]
    key = jax.random.fold_in(jax.random.key(seed), 2)
    encoded: Any = trained.preprocess.encode(key, jax.numpy.asarray(stored[picked]))
    return np.asarray(encoded[0])


if __name__ == "__main__":
    interruption.watch()
    sys.exit(main())
