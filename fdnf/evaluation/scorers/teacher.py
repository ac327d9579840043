"""A student of a teacher's density, held against its teacher on samples of both.

Everything is in the flow's own data space. Of a table given conditions, teacher and
student sample for those of the test rows, and what compares rows compares them with
their conditions: a sample that does not follow its condition is told apart. The
teacher's samples and those that are held against them come from different latents, so
that the samples are independent; students of one teacher get the same latents, so that
their differences are theirs.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import cost
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.metrics import c2st, two_sample
from fdnf.train import process, teachers, transfer
from fdnf.train.teachers import Trained

# What a score is against: the teacher's samples, or held-out rows.
TEACHER, HELD_OUT = "teacher", "test"
# Beside a mean over rows, and beside the statistic of a test.
MEDIAN, LEFT_OUT, P_VALUE = "median", "left_out", "p"
# Streams of the key: the teacher's samples, and all that are compared with them.
_OWN, _OTHERS = 0, 1
_TRAIN, _TEST = 0, 2  # Splits.
# Rows of a sample of which all pairs are taken.
PAIRS = 2500
# A network that is to tell fewer rows apart learns nothing.
FEWEST = 50
# A sample is exploded beyond this multiple of the largest |x| of the training rows.
REACH = 3.0
# Rows that a classifier tells apart, and images whose density an inverse
# autoregressive student gives value by value, unless `eval.density_rows` says more.
JUDGED, JUDGED_IMAGES, DENSITY_IMAGES = 5_000, 2_000, 250


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much of each part is done.

    Attributes:
        samples: drawn of the teacher, and of each student.
        density: rows at which a student's density is taken, the teacher's samples for
            the forward KL and held-out rows: an inverse autoregressive student inverts
            itself for it. 0 for none.
        judged: rows of each sample given to C2ST, sliced Wasserstein and MMD; 0 for
            none.
        batch_size: rows at once.
        reach: largest |x| of a sample that is not exploded.
        time_batch: rows of the batch whose time is taken; 0 for none.
    """

    samples: int = 10_000
    density: int = 10_000
    judged: int = 5_000
    batch_size: int = 1_000
    reach: float = math.inf
    time_batch: int = 1_000

    def __post_init__(self) -> None:
        if min(self.samples, self.batch_size) < 2:
            raise ValueError(
                f"samples={self.samples}, batch_size={self.batch_size}: expected at "
                "least 2 each"
            )
        if min(self.density, self.judged, self.time_batch) < 0 or not self.reach > 0:
            raise ValueError(
                f"density={self.density}, judged={self.judged}, time_batch="
                f"{self.time_batch}, reach={self.reach}: expected 0 (for none) or "
                "more, and a positive reach"
            )


def settings_of(teacher: Trained, data: Tabular | Images, evaluation: Any) -> Settings:
    """The settings that follow from an `eval` section.

    Args:
        teacher: whose data reach as far as its preprocessing says.
        data: what it was trained on.
        evaluation: read are `samples`, `batch_size`, `time_batch` and `density_rows`.
    """
    images = isinstance(data, Images)
    density = evaluation.get("density_rows", DENSITY_IMAGES if images else None)
    reach = teacher.preprocess.reach(data.train)
    return Settings(
        samples=evaluation.samples,
        density=evaluation.samples if density is None else density,
        judged=min(evaluation.samples, JUDGED_IMAGES if images else JUDGED),
        # Of images one size, so that scores and times share programs.
        batch_size=evaluation.time_batch if images else evaluation.batch_size,
        reach=REACH * reach if reach else math.inf,
        time_batch=evaluation.time_batch,
    )


class Reference(NamedTuple):
    """What all students of one run of a teacher are held against.

    Attributes:
        teacher: the teacher.
        samples: `[rows, *event]`, its samples.
        log_prob: `[rows]`, its own density of them, in nats.
        held_out: `[rows, *event]`, data that nobody was trained on.
        bandwidth: of the MMD, the same for all.
        seed: of all that is drawn.
        settings: how much is done.
        cond: `[rows, ...]`, what the teacher's samples are drawn given, as the flow
            takes it; None for a flow that takes none.
        held_out_cond: `[rows, ...]`, likewise of the held-out rows.
        others_cond: `[rows, ...]`, likewise of what is held against the teacher.
    """

    teacher: Sampler
    samples: np.ndarray
    log_prob: np.ndarray
    held_out: np.ndarray
    bandwidth: float
    seed: int
    settings: Settings
    cond: np.ndarray | None = None
    held_out_cond: np.ndarray | None = None
    others_cond: np.ndarray | None = None


class Scored(NamedTuple):
    """Scores, and the log densities under the teacher that a picture shows."""

    scores: list[Score]
    teacher_log_prob: np.ndarray


def scores(context: Context) -> Iterator[Score]:
    """The scorer of a run that learned a teacher's density; of others there is none.

    Run r of a student is held against run r of the teacher, or its only run. Images of
    a class are not held against a teacher's. Times are of the first run;
    models of one architecture share them, since they differ in what they learned.

    Raises:
        ConfigError: teacher and student do not fit.
    """
    teacher = held_against(context.whole)
    if teacher is None or not _learns(context.trained):
        return
    if context.run == 0:
        teachers.match(
            teacher,
            context.data.event,
            context.trained.runs,
            context.trained.preprocess,
        )
    settings = settings_of(teacher, context.data, context.section)
    model = samplers.of(context.trained, context.run, settings.batch_size, fold=False)
    if context.run == 0 and settings.time_batch:
        timed = samplers.rows_of(teacher, context.data, _TEST, settings.time_batch, 0)
        dense = settings.density > 0
        yield from context.whole.once(
            ("times", model.flow),
            lambda: list(cost.alone(model, *timed, density=dense)),
        )
    against = _reference(
        context.whole, teacher, 0 if teacher.runs == 1 else context.run
    )
    found = of_student(against, model)
    # The picture is of first runs.
    pictured(context.whole).setdefault(context.method, found.teacher_log_prob)
    yield from found.scores


def floors(whole: Evaluation) -> Iterator[Result]:
    """What no student can be better than: the teacher once more, and training rows.

    Each run of the teacher has its own; the first carries the teacher's times.
    """
    teacher = held_against(whole)
    if teacher is None:
        return
    settings = settings_of(teacher, whole.data, whole.section)
    kind = "images" if isinstance(whole.data, Images) else "vectors"
    for run in range(teacher.runs):
        seed, taken = teacher.config.seed + run, []
        if run == 0 and settings.time_batch:
            timed = samplers.rows_of(teacher, whole.data, _TEST, settings.time_batch, 0)
            model = samplers.of(teacher, 0, settings.batch_size, fold=False)
            taken = list(cost.alone(model, *timed, by_dimension=True))
        against = _reference(whole, teacher, run)
        known = samplers.rows_of(teacher, whole.data, _TRAIN, settings.samples, seed)
        for method, found in (
            ("teacher_again", of_teacher(against)),
            ("training", of_rows(against, *known)),
        ):
            pictured(whole).setdefault(method, found.teacher_log_prob)
            yield whole.baseline(method, (*found.scores, *taken), kind=kind, seed=seed)
            taken = []
        process.release_programs()


def held_against(whole: Evaluation) -> Trained | None:
    """The teacher, if there is a model that learned its density from it."""
    teacher = whole.teacher if any(map(_learns, whole.models.values())) else None
    return None if teacher is None or teacher.preprocess.classes else teacher


def pictured(whole: Evaluation) -> dict[str, np.ndarray]:
    """Method to log p_T of its samples, of first runs, as far as they are scored."""
    return whole.once("teacher_log_prob", dict)


def _learns(trained: Trained) -> bool:
    return trained.config.loss.method in transfer.METHODS


def reference(
    teacher: Sampler,
    held_out: np.ndarray,
    settings: Settings,
    seed: int = 0,
    held_out_cond: np.ndarray | None = None,
) -> Reference:
    """Draws the teacher's samples.

    Args:
        teacher: it decodes and encodes.
        held_out: `[rows, *event]`, in the flow's own space.
        settings: how many.
        seed: of everything drawn.
        held_out_cond: `[rows, ...]`, their conditions, which samples are drawn given
            too, in turn. What is held against the teacher begins in their middle, and
            no more than half of them are judged: a condition that is there twice would
            tell a classifier, or mislead it.

    Raises:
        ValueError: the teacher has no density.
    """
    if not teacher.dense:
        raise ValueError(
            f"the teacher {type(teacher.flow).__name__} has no encode: students are "
            "judged by its density, so give a flow"
        )
    key = jax.random.fold_in(jax.random.key(seed), _OWN)
    shape, cond, others = (settings.samples, *held_out.shape[1:]), None, None
    if held_out_cond is not None:
        half, turn = len(held_out_cond) // 2, np.arange(settings.samples)
        cond = held_out_cond[turn % len(held_out_cond)]
        others = held_out_cond[(turn + half) % len(held_out_cond)]
        judged = min(settings.judged, half)
        settings = dataclasses.replace(settings, judged=judged)
    samples, _ = teacher.weighed(key, shape, cond)
    bandwidth = math.nan
    kept = _flat(samples, cond)[~exploded(samples, settings)]
    if settings.judged and len(kept) > 1:
        bandwidth = two_sample.median_distance(kept, kept)
    own = teacher.log_prob(samples, cond)
    drawn = Reference(teacher, samples, own, held_out, bandwidth, seed, settings)
    return drawn._replace(cond=cond, held_out_cond=held_out_cond, others_cond=others)


def of_student(against: Reference, student: Sampler) -> Scored:
    """A student's scores.

    The reverse KL takes log q from the student's decoding, which costs no inversion,
    and log p_T from the teacher's encoding. It has a mean of few rows where the
    student leaves what the teacher knows, hence the median.

    Args:
        against: the teacher and its samples.
        student: it decodes to the same data; without a density the divergences are
            left out.

    Returns:
        The scores, and log p_T of each sample.

    Reference: Huang et al. (2019), sections 3.2 and 4.1.1; the divergences, eq. 2.
    """
    settings = against.settings
    x, own = _drawn(against, student)
    found = of_rows(against, x, against.others_cond)
    if own is None:
        return found
    gap = own - found.teacher_log_prob
    found.scores.extend(_estimate("reverse_kl", gap, math.inf))
    if student.dense and settings.density:
        samples, cond = against.samples[: settings.density], against.cond
        cond = None if cond is None else cond[: settings.density]
        gap = against.log_prob[: settings.density] - student.log_prob(samples, cond)
        counted = ~exploded(samples, settings)
        found.scores.extend(_estimate("forward_kl", gap, math.inf, counted))
        found.scores.extend(_fit(against, student))
    return found


def of_teacher(against: Reference) -> Scored:
    """Further samples of the teacher, as of a student: the floors of all scores.

    From itself it is 0 nats away, whatever float error makes of that, so it has no
    divergences.
    """
    x, _ = _drawn(against, against.teacher)
    found = of_rows(against, x, against.others_cond)
    if against.settings.density:
        found.scores.extend(_fit(against, against.teacher))
    return found


def of_rows(
    against: Reference, x: np.ndarray, cond: np.ndarray | None = None
) -> Scored:
    """Scores of rows from anywhere, such as training data, which have no density.

    Exploded rows (not finite, or out of reach) are left out of distances and of the
    mean of log densities, and counted.

    Args:
        against: the teacher and its samples.
        x: `[rows, *event]`.
        cond: `[rows, ...]`, their conditions, of a teacher that takes some.
    """
    settings = against.settings
    far, own_far = exploded(x, settings), exploded(against.samples, settings)
    log_p = against.teacher.log_prob(x, cond)
    found = [Score("exploded_percent", 100.0 * float(far.mean()), TEACHER, n=len(x))]
    found += _estimate("teacher_log_prob", log_p, -math.inf, ~far)
    ks = two_sample.kolmogorov_smirnov(
        *(
            np.where(np.isnan(v), -np.inf, v).astype(np.float64)
            for v in (log_p, against.log_prob)
        )
    )
    found.append(Score("ks", ks.statistic, TEACHER, n=len(x)))
    found.append(Score("ks", ks.p_value, TEACHER, P_VALUE))
    finite, own_finite = (
        values[~rows & np.isfinite(values)]
        for values, rows in ((log_p, far), (against.log_prob, own_far))
    )
    if min(len(finite), len(own_finite)) > 1:
        gap = two_sample.mean_difference(finite, own_finite)
        shift = Score("log_prob_shift", gap.difference, TEACHER)
        found.append(shift._replace(low=gap.low, high=gap.high))
        found.append(Score("log_prob_shift", gap.p_value, TEACHER, P_VALUE))
    compared = _flat(x, cond)[~far], _flat(against.samples, against.cond)[~own_far]
    found += _distances(against, *compared)
    return Scored(found, log_p)


def exploded(x: np.ndarray, settings: Settings) -> np.ndarray:
    """`[rows]`, True where a sample is not finite or out of reach."""
    flat = np.abs(_flat(x))
    return ~np.all((flat <= settings.reach) & np.isfinite(flat), axis=1)


def _reference(whole: Evaluation, teacher: Trained, run: int) -> Reference:
    def make() -> Reference:
        settings = settings_of(teacher, whole.data, whole.section)
        seed = teacher.config.seed + run
        x, cond = samplers.rows_of(teacher, whole.data, _TEST, settings.samples, seed)
        model = samplers.of(teacher, run, settings.batch_size, fold=False)
        return reference(model, x, settings, seed, cond)

    return whole.once(("reference", run), make)


def _drawn(against: Reference, model: Sampler) -> tuple[np.ndarray, np.ndarray | None]:
    key = jax.random.fold_in(jax.random.key(against.seed), _OTHERS)
    return model.weighed(key, against.samples.shape, against.others_cond)


def _fit(against: Reference, model: Sampler) -> list[Score]:
    held_out, cond = against.held_out[: against.settings.density], None
    if against.held_out_cond is not None:
        cond = against.held_out_cond[: against.settings.density]
    fit = model.log_prob(held_out, cond)
    return _estimate("data_log_prob", fit, -math.inf, split=HELD_OUT)


def _estimate(
    metric: str,
    values: np.ndarray,
    worst: float,
    counted: np.ndarray | None = None,
    split: str = TEACHER,
) -> list[Score]:
    """Mean of the rows that count, median of all, and how many do not count.

    Args:
        metric: what the values are.
        values: `[rows]`, in nats, at least one.
        worst: inf or -inf: what a value that is not a number stands for.
        counted: `[rows]`, bool, all by default; rows that are not finite never count.
        split: of the scores.
    """
    values = np.asarray(values, np.float64)
    counted = np.ones(len(values), bool) if counted is None else counted
    kept = values[counted & np.isfinite(values)]
    mean = float(kept.mean()) if len(kept) else math.nan
    error = None
    if len(kept) > 1:
        error = float(kept.std(ddof=1)) / math.sqrt(len(kept))
    ranked = np.where(np.isnan(values) | ~counted, worst, values)
    # A point of the sample: between two infinities there is no mean.
    median = float(np.quantile(ranked, 0.5, method="higher"))
    rows, lost = len(values), len(values) - len(kept)
    found = [
        Score(metric, mean, split, n=len(kept), se=error),
        Score(metric, median, split, MEDIAN, n=rows),
    ]
    if lost:
        found.append(Score(metric, float(lost), split, LEFT_OUT, n=rows))
    return found


def _distances(
    against: Reference, x: np.ndarray, samples: np.ndarray
) -> Iterator[Score]:
    """Scores that compare flat rows; exploded ones are left out before."""
    known = _flat(against.held_out, against.held_out_cond)
    own, theirs, held_out = (
        rows[: against.settings.judged] for rows in (x, samples, known)
    )
    n = len(own)
    if min(n, len(theirs), len(held_out)) < FEWEST:
        return
    distance = two_sample.sliced_wasserstein(own, theirs)
    yield Score("sliced_wasserstein", distance, TEACHER, n=n)
    mmd = two_sample.mmd(own[:PAIRS], theirs[:PAIRS], against.bandwidth)
    yield Score("mmd", mmd, TEACHER, n=min(n, PAIRS))
    for split, others in ((TEACHER, theirs), (HELD_OUT, held_out)):
        told = c2st.c2st(others, own, seed=against.seed)
        yield Score("c2st", told.accuracy, split, n=told.rows)
        yield Score("c2st", told.p_value, split, P_VALUE)


def _flat(x: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
    """Rows as vectors, with their conditions behind."""
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    if cond is None:
        return flat
    return np.concatenate([flat, cond.reshape(len(cond), -1)], axis=1)
