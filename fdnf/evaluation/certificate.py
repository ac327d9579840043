"""The certificate of a sampler: how far it is from its teacher, as JSON.

It stands beside the results of a student that was held against its teacher, and beside
an exported sampler, so that whoever gets the file knows what the sampler is worth. It
has no date and no path: the same models, data and versions give the same one, but for
times.
"""

import copy
import hashlib
import logging
import math
import pathlib
import platform
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flax
import jax
import jaxlib
import numpy as np
import scipy

import fdnf
from fdnf import files
from fdnf.data import build as datasets
from fdnf.data.images import Images
from fdnf.data.tabular import DataError
from fdnf.evaluation.core import methods, quantities, scores, stored
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.models import timing
from fdnf.evaluation.scorers import reference as references
from fdnf.evaluation.scorers import teacher as scorer
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.scorers.reference import FLOOR, HELD_OUT, TEACHER
from fdnf.metrics import importance
from fdnf.train import stored as checkpoints
from fdnf.train import teachers, transfer
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

NAME, FORMAT = "certificate.json", 1
# Rows of a certificate that is made where nothing was evaluated, of images fewer.
QUICK, QUICK_IMAGES = 2_000, 500
# Its batches, and of an evaluation those of the table.
QUICK_BATCHES = (1, 100)

_log = logging.getLogger(__name__)

_TOLD = (
    "Share of held-out rows of which a small network (two layers of 64, five folds) "
    "names rightly whether they are {}; 0.5 cannot tell, 1 always can."
)
_AREA = (
    "Area under the curve of that network's logits for {}; 0.5 cannot tell, 1 always "
    "can."
)
_TEACHERS = "the sampler's or the teacher's"
_DATA = "the sampler's or held-out data"
_DIVERGENCE = (
    "{} of log q - log p_T over the sampler's draws, q its density and p_T the "
    "teacher's, in nats."
)
_TAIL = (
    "How many times as often draws are there as the teacher's, or the other way round, "
    "in that tail of {} in which it is most; tails are beyond 25 of the teacher's rows "
    "or 1 in 10,000."
)
_SPREAD = (
    "Standard deviation of several draws for one condition over that of the teacher's "
    "for it: {}; near 0 is a sampler that has collapsed."
)
# Metric, split and condition of a score to what a certificate calls it, and a sentence.
MEASURES = {
    ("c2st", TEACHER, ""): ("C2ST against the teacher", _TOLD.format(_TEACHERS)),
    ("c2st", HELD_OUT, ""): ("C2ST against data", _TOLD.format(_DATA)),
    ("auc", TEACHER, ""): ("AUC against the teacher", _AREA.format(_TEACHERS)),
    ("auc", HELD_OUT, ""): ("AUC against data", _AREA.format(_DATA)),
    ("reverse_kl", TEACHER, ""): ("reverse KL, mean", _DIVERGENCE.format("Mean")),
    ("reverse_kl", TEACHER, scorer.MEDIAN): (
        "reverse KL, median",
        _DIVERGENCE.format("Median"),
    ),
    ("reverse_kl", TEACHER, scorer.FAR): (
        "reverse KL, 99.9 % quantile",
        _DIVERGENCE.format("The 99.9 % quantile"),
    ),
    ("reverse_kl", TEACHER, scorer.POSSIBLE): (
        "reverse KL, mean without impossible draws",
        "Mean of log q - log p_T over the draws that are not impossible, in nats.",
    ),
    ("impossible_percent", TEACHER, ""): (
        "impossible draws",
        "Draws, in percent, whose log q - log p_T is not finite or above "
        f"{importance.IMPOSSIBLE:,.0f} nats: the teacher never makes them.",
    ),
    ("forward_kl", TEACHER, ""): (
        "forward KL, mean",
        "Mean of log p_T - log q over the teacher's draws, in nats.",
    ),
    ("ess_share", TEACHER, ""): (
        "ESS/N of importance weights",
        "(mean w)^2 / mean w^2 of w = p_T / q over the sampler's draws: the share of "
        "them that exact draws of the teacher would be worth.",
    ),
    ("khat", TEACHER, ""): (
        "Pareto k-hat of importance weights",
        "Shape of the generalised Pareto distribution of the largest weights; their "
        "variance is finite below 0.5, averages cannot be trusted from 0.7 on.",
    ),
    ("largest_weight", TEACHER, ""): (
        "largest importance weight",
        "The largest weight over the sum of all.",
    ),
    ("tail", TEACHER, scorer.COLUMNS): (
        "worst tail of a column",
        _TAIL.format("all columns"),
    ),
    ("tail", TEACHER, scorer.LOG_PROB): (
        "worst tail of log p_T",
        _TAIL.format("log p_T"),
    ),
    ("spread_ratio", TEACHER, ""): (
        "spread given a condition",
        _SPREAD.format("the median over conditions and columns"),
    ),
    ("spread_ratio", TEACHER, scorer.CONDITION): (
        "spread given the worst condition",
        _SPREAD.format("the median over columns that is farthest from 1"),
    ),
    ("spread_ratio", TEACHER, scorer.COLUMN): (
        "spread of the worst column",
        _SPREAD.format("the median over conditions that is farthest from 1"),
    ),
    ("exploded_percent", TEACHER, ""): (
        "exploded draws",
        "Draws, in percent, that are not finite or beyond 3 times the largest value of "
        "the training data.",
    ),
}


class Models(NamedTuple):
    """What a certificate is of.

    Attributes:
        student: the sampler.
        teacher: what it is held against.
        method: what the student is called.
        run: which of its runs.
    """

    student: Trained
    teacher: Trained
    method: str
    run: int = 0

    @property
    def teachers_run(self) -> int:
        """Which run of the teacher it is."""
        return 0 if self.teacher.runs == 1 else self.run


def of(
    models: Models,
    found: Sequence[Score],
    floor: Sequence[Score],
    *,
    data: Any,
    timed: Sequence[Score] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The certificate of one run of a student.

    Args:
        models: the student and its teacher.
        found: scores of the run, as `scorers.teacher` makes them.
        floor: those of further samples of the teacher.
        data: that both were judged by.
        timed: scores with times, of a run of the same architecture; `found` by default.
        notes: how it was made, a sentence each.

    Returns:
        What strict JSON can hold; numbers that are not finite are "inf", "-inf", "nan".
    """
    student, teacher = models.student, models.teacher
    floors = Result(Run("", ""), tuple(floor))
    mine = Result(Run("", ""), tuple(found))
    seed = teacher.config.seed + models.teachers_run
    told = {
        "format": FORMAT,
        "about": "How far this sampler is from its teacher. Each measure has its "
        "value, the standard error of it over rows where it has one, how many rows it "
        "is of, and the floor: what further draws of the teacher itself score.",
        "student": {
            "method": models.method,
            **_model(student, models.run),
        },
        "teacher": _model(teacher, models.teachers_run),
        "data": {"name": data.name, "source": data.source},
        "seed_of_draws": seed,
        "measures": list(_measures(mine, floors)),
        "weights_reliable": _reliable(mine),
        "speeds": list(_speeds(found if timed is None else timed, floor)),
        "machine": timing.machine(),
        "versions": versions(),
        "notes": list(notes),
    }
    return scores.plain(told)


def of_evaluation(
    evaluation: Evaluation, results: Sequence[Result]
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """The certificates of all students of an evaluation, with the runs they are of.

    Args:
        evaluation: models and data.
        results: of it, the floors among them.
    """
    teacher = references.held_against(evaluation)
    if teacher is None:
        return
    floors = {r.run.seed: r.scores for r in results if r.run.method == FLOOR}
    for method, student in evaluation.models.items():
        own = {r.run.seed: r for r in results if r.run.method == method}
        first = own.get(student.config.seed)
        for run in range(student.runs):
            result = own.get(student.config.seed + run)
            models = Models(student, teacher, method, run)
            floor = floors.get(teacher.config.seed + models.teachers_run)
            if result is None or floor is None or result.get("ks") is None:
                continue  # Not held against the teacher.
            timed = (first or result).scores
            yield (
                result.run,
                of(models, result.scores, floor, data=evaluation.data, timed=timed),
            )


def quick(models: Models, data: Any, rows: int | None = None) -> dict[str, Any]:
    """The certificate of a student that was not evaluated, of fewer rows.

    Args:
        models: a student that learned the density of the teacher, and it.
        data: as `fdnf.data.build` gives them, whose test rows neither of them knows.
        rows: drawn of each; by default 2,000, of images 500, and no more than
            `eval.samples` of the student's config.

    Returns:
        See `of`; the time of one pass a dimension is left out, and so are divergences
        that need an autoregressive student's inverse.

    Raises:
        ConfigError: the models do not fit, or the student learned no density.
    """
    student, method = models.student, models.method
    usual = min(
        student.config.eval.samples, QUICK_IMAGES if isinstance(data, Images) else QUICK
    )
    rows = usual if rows is None else rows
    section = copy.deepcopy(student.config.eval).unlock()
    section.update(samples=rows, density_rows=0, weighed_rows=0)
    batches = QUICK_BATCHES if section.time_batch else ()
    section.update(time_batches=batches, time_batch=min(section.time_batch, rows))
    whole = Evaluation(data, section, {method: student, "teacher": models.teacher})
    if references.held_against(whole) is None:
        raise ConfigError(
            f"loss.method={student.config.loss.method!r}: expected a student that "
            f"learned its teacher's density, by one of {transfer.METHODS}, of a "
            "teacher of vectors or of images without classes"
        )
    found = tuple(scorer.scores(Context(whole, method, models.run)))
    floor = scorer.floor(whole, models.teacher, models.teachers_run)
    note = (
        "A quick certificate of a sampler that was not evaluated: of "
        f"{rows} rows, and without the time of one pass a dimension."
    )
    return of(models, found, floor, data=data, notes=(note,))


def write(
    folder: str | pathlib.Path,
    workdir: str | pathlib.Path,
    trained: Trained,
    run: int = 0,
) -> pathlib.Path | None:
    """Writes the certificate of a sampler beside its exported files.

    It is that of the last evaluation, if that was of the same weights of student and
    teacher; otherwise a quick one is made, of fewer rows.

    Args:
        folder: of the export, with its `weights.npz`, whose sha256 goes in.
        workdir: of the student.
        trained: the student.
        run: which of its runs.

    Returns:
        `<folder>/certificate.json`; None, and an older one is removed, for a model that
        learned no teacher's density, or whose teacher or data are not there.
    """
    folder, workdir = pathlib.Path(folder), pathlib.Path(workdir)
    path = folder / NAME
    content = _of_workdir(workdir, trained, run)
    if content is None:
        path.unlink(missing_ok=True)
        return None
    weights = folder / "weights.npz"
    if weights.is_file():
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        content["exported"] = {weights.name: sha256}
    files.write_json(path, content)
    return path


def weights_sha256(variables: Any) -> str:
    """sha256 over the names, types, shapes and bytes of all variables, by name."""
    found = hashlib.sha256()
    for name, leaf in sorted(checkpoints.flatten(variables).items()):
        array = np.ascontiguousarray(leaf)
        found.update(f"{name} {array.dtype} {leaf.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Of what computes the measures."""
    modules = jax, jaxlib, flax, np, scipy
    known = {module.__name__: module.__version__ for module in modules}
    python = platform.python_version()
    return {"fdnf": fdnf.__version__, "python": python, **known}


def _model(trained: Trained, run: int) -> dict[str, Any]:
    variables, config = teachers.run_of(trained, run)[1], trained.config
    return {
        "model": methods.architecture(config.model.name),
        "run": run,
        "seed": config.seed + run,
        "loss": config.loss.method,
        "parameters": timing.parameter_count(variables),
        "weights_sha256": weights_sha256(variables),
    }


def _measures(mine: Result, floors: Result) -> Iterator[dict[str, Any]]:
    better = {1: "higher", -1: "lower", 0: "neither"}
    for (metric, split, given), (name, definition) in MEASURES.items():
        where = {"split": split, "given": given}
        score = mine.get(metric, **where)
        if score is None:
            continue
        quantity, floor = quantities.of(metric), floors.get(metric, **where)
        yield {
            "name": name,
            "value": score.value,
            **({} if score.se is None else {"se": score.se}),
            "rows": score.n,
            **({} if floor is None else {"floor": floor.value}),
            "unit": quantity.unit,
            "better": better[quantity.better],
            "definition": definition,
        }


def _reliable(mine: Result) -> bool | None:
    """Whether averages with the weights can be trusted; None of no weights."""
    share, khat = (mine.get(name, split=TEACHER) for name in ("ess_share", "khat"))
    if share is None or khat is None or not share.n:
        return None
    if math.isnan(khat.value):  # All alike, or too few to know.
        return share.value > 0.99
    return khat.value < importance.widest(share.n)


def _speeds(timed: Sequence[Score], floor: Sequence[Score]) -> Iterator[dict[str, Any]]:
    """Draws a second in each batch, beside the teacher's two ways to draw."""
    known = {(s.metric, s.given): s for s in floor}
    for score in timed:
        if score.metric != "batch_ms":
            continue
        found = {
            "batch": int(score.given),
            "rows": score.n,
            "draws_per_second": _rate(score, score.value),
        }
        if score.low and score.high:
            found["low"], found["high"] = (
                _rate(score, end) for end in (score.high, score.low)
            )
        for metric, name in (
            ("batch_ms", "teacher"),
            ("batch_naive_ms", "one_pass_a_dimension"),
        ):
            other = known.get((metric, score.given))
            if other is not None:
                rate = _rate(other, other.value)
                found[f"{name}_per_second"], found[f"{name}_rows"] = rate, other.n
                found[f"times_{name}"] = found["draws_per_second"] / rate
        yield found


def _rate(score: Score, milliseconds: float) -> float:
    return 1e3 * (score.n or 1) / milliseconds


def _of_workdir(
    workdir: pathlib.Path, trained: Trained, run: int
) -> dict[str, Any] | None:
    whole = Evaluation(None, trained.config.eval, {"": trained}, {"": workdir})
    teacher = references.held_against(whole)
    if teacher is None:
        return None
    method = trained.config.get("label") or trained.config.loss.method
    models = Models(trained, teacher, method, run)
    return _evaluated(workdir, models) or _quick(workdir, models)


def _evaluated(workdir: pathlib.Path, models: Models) -> dict[str, Any] | None:
    """That of an evaluation of the same weights, alone or in the study around it."""
    wanted = [
        weights_sha256(teachers.run_of(trained, run)[1])
        for trained, run in (
            (models.student, models.run),
            (models.teacher, models.teachers_run),
        )
    ]
    for around in (workdir, workdir.absolute().parent):
        for path in sorted((around / stored.RESULTS).glob(f"*/*/{NAME}")):
            try:
                found = files.loads(path.read_text(encoding="utf-8"))
                sums = [found[k]["weights_sha256"] for k in ("student", "teacher")]
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("%s is passed by: %r", path, error)
                continue
            if sums == wanted and found.get("format") == FORMAT:
                return found
    return None


def _quick(workdir: pathlib.Path, models: Models) -> dict[str, Any] | None:
    try:
        data = datasets.build(models.student.config.data)
    except (DataError, OSError) as error:
        _log.warning("%s gets no certificate: %s", workdir, error)
        return None
    return quick(models, data)
