"""Samples of a student's teacher, which the student proposes: `--mode=sample --exact`.

They are written as a flow's own are (`vectors`, `rows`), under names of their own, with
what is to say of how far they are the teacher's.
"""

import functools
import pathlib
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fdnf import files
from fdnf.corrected import METHODS, Corrected, CorrectionWarning
from fdnf.evaluation.tasks import base, given, rows, vectors
from fdnf.train import teachers
from fdnf.train.settings import ConfigError

__all__ = ["METHODS", "Drawn", "said", "sample", "timed"]

NAME = "exact"


class Drawn(NamedTuple):
    """Exact samples of one run.

    Attributes:
        found: the samples and their weights.
        seconds: that all of them took, compiled.
    """

    found: Corrected
    seconds: float

    @property
    def rows_a_second(self) -> float:
        """Samples that repeat no other, a second, the pilot included."""
        return len(self.found.x) * (1.0 - self.found.repeated) / self.seconds

    @property
    def weighted_a_second(self) -> float:
        """Effective samples a second of all proposals, where weights stay with them."""
        return self.found.ess_share * self.found.proposals / self.seconds

    @property
    def about(self) -> dict[str, Any]:
        """As JSON takes it."""
        found = self.found
        return {
            "method": found.method,
            "samples": len(found.x),
            "proposals": found.proposals,
            "proposals_a_row": found.steps,
            "rounds_a_row": found.rounds,
            "acceptance": found.acceptance,
            "ess": found.ess,
            "ess_share": found.ess_share,
            "khat": found.khat,
            "total_variation": found.distance,
            "total_variation_uncorrected": found.uncorrected,
            "repeated": found.repeated,
            "without_weight": found.lost,
            "samples_a_second": self.rows_a_second,
            "effective_weighted_samples_a_second": self.weighted_a_second,
            "told": list(found.told),
        }


def timed(correct: Callable[..., Corrected], **options: Any) -> Drawn:
    """Exact samples, and how long they take once the programs are compiled.

    What a warning would say is in `told`.

    Args:
        correct: draws them, such as `Trained.corrected` of a key and a number.
        **options: of `fdnf.corrected_sample`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorrectionWarning)
        # The same programs, of one proposal a row.
        correct(**{**options, "tolerance": 0.99})
        begun = time.perf_counter()
        found = correct(**options)
        np.asarray(found.x)
        return Drawn(found, time.perf_counter() - begun)


def sample(
    workdir: pathlib.Path,
    config: Any,
    conditions: str | None = None,
    each: int | None = None,
    out: str | None = None,
    method: bool | str = True,
) -> str:
    """Writes exact samples of each run of a trained student.

    Args:
        workdir: of the student, or its file.
        config: its `eval` section is used, its seed, which is that of run 0, and
            `teacher.workdir`, where it is set, for a teacher that has moved.
        conditions: a file with the condition of each row, None for those of the test
            rows.
        each: as of `rows.sample`.
        out: likewise.
        method: one of `METHODS`; True for the first.

    Returns:
        What is said of them, and the files: `samples/exact.npz` and `.csv` as
        `vectors.sample` writes them, or `exact_<name of the file>` as `rows.sample`;
        and `samples/exact.json`, what is said as numbers.

    Raises:
        ConfigError: the model has no density or no teacher, or another temperature is
            asked for.
        DataError: as `rows.sample`.
    """
    trained = given.load(workdir, config.eval)
    given.check_kind(trained, "--exact")
    if len(trained.event) > 1:
        raise ConfigError(
            "--exact is for vectors and tables; of images it is in Python: "
            "fdnf.load(workdir).sample(key, n, exact=True)"
        )
    if trained.config.eval.temperature != 1.0:
        raise ConfigError(
            f"--exact with eval.temperature={trained.config.eval.temperature}: exact "
            "samples are those of the teacher's density: --config.eval.temperature=1.0"
        )
    named = (config.get("teacher") or {}).get("workdir")
    teacher = teachers.teacher_of(trained, named or None)
    taken: list[Drawn] = []

    def drawn(run: int, n: int, seed: int, cond: Any) -> np.ndarray:
        asked = (trained.corrected, seed, n, cond, run)
        how = METHODS[0] if method is True else method
        taken.append(timed(functools.partial(*asked, teacher=teacher, method=how)))
        return np.asarray(taken[-1].found.x)

    home = given.home(workdir)
    folder = home / base.SAMPLES
    folder.mkdir(parents=True, exist_ok=True)
    if conditions:
        more = (config.seed, each, out, drawn)
        paths = rows.sample(workdir, config.eval, conditions, *more)
        beside = paths[0].with_name(f"{paths[0].stem}_weights.json")
    else:
        paths = vectors.sample(trained, home, config.seed, drawn, NAME)
        beside = folder / f"{NAME}.json"
    files.write_json(
        beside,
        {
            "teacher": None if teacher.place is None else str(teacher.place),
            "step": trained.meta.get("step"),
            "seed": config.seed,
            "runs": [each.about for each in taken],
        },
    )
    told = [
        (f"run {run}: " if trained.runs > 1 else "") + said(each)
        for run, each in enumerate(taken)
    ]
    return "\n".join([*told, *map(str, [*paths, beside])])


def said(drawn: Drawn) -> str:
    """In words."""
    found = drawn.found
    taken = f"{found.steps} proposal(s) a row, {100 * found.acceptance:.1f} % accepted"
    if found.method == "defects":
        taken = (
            f"{found.rounds:.1f} rounds a row, {100 * (1 - found.acceptance):.1f} % "
            "decoded by the teacher itself"
        )
    lines = [
        f"{len(found.x):,} samples of the teacher by {found.method}: {taken}",
        f"ESS {100 * found.ess_share:.1f} % of {found.proposals:,} proposals, Pareto "
        f"k-hat {found.khat:.2f}; in total variation the student is "
        f"{found.uncorrected:.3f} from its teacher, these samples {found.distance:.4f}",
        f"{drawn.rows_a_second:,.0f} samples a second; weighted proposals make "
        f"{drawn.weighted_a_second:,.0f} effective samples a second",
    ]
    return "\n  ".join([*lines, *(f"but {clause}" for clause in found.told)])
