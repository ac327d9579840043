"""A student of a teacher's density, held against its teacher on samples of both.

Everything is in the flow's own data space. Of a table given conditions, teacher and
student sample for those of the test rows, and what compares rows compares them with
their conditions: a sample that does not follow its condition is told apart. The
teacher's samples and those that are held against them come from different latents, so
that the samples are independent; students of one teacher get the same latents, so that
their differences are theirs.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from fdnf.data.images import Images
from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models import timing
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import cost
from fdnf.evaluation.scorers import reference as references
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.scorers.reference import (
    FLOOR,
    HELD_OUT,
    PAIRS,
    TEACHER,
    TEST,
    TRAIN,
    Reference,
)
from fdnf.metrics import c2st, columns, importance, two_sample
from fdnf.train import process, teachers
from fdnf.train.teachers import Trained

# Beside a mean over rows, and beside the statistic of a test.
MEDIAN, LEFT_OUT, P_VALUE = "median", "left_out", "p"
# Of the divergence of single rows, the quantile that few are beyond.
FAR, FAR_SHARE = "q99.9", 0.999
# Likewise, the mean without the draws that the teacher finds impossible.
POSSIBLE = "possible"
# Of tails: of log p_T, and of the columns. Of spreads given conditions.
LOG_PROB, COLUMNS = "log_prob", "columns"
CONDITION, COLUMN = "condition", "column"
# A network that is to tell fewer rows apart learns nothing.
FEWEST = 50


class Scored(NamedTuple):
    """Scores, and what pictures show.

    Attributes:
        scores: of a model, or of rows.
        teacher_log_prob: `[rows]`, log densities of samples under the teacher.
        log_weights: `[draws]`, log p_T - log q of a model's draws; None without q.
    """

    scores: list[Score]
    teacher_log_prob: np.ndarray
    log_weights: np.ndarray | None = None


def scores(context: Context) -> Iterator[Score]:
    """The scorer of a run that learned a teacher's density; of others there is none.

    Run r of a student is held against run r of the teacher, or its only run. Images of
    a class are not held against a teacher's. Times are of the first run;
    models of one architecture share them, since they differ in what they learned.

    Raises:
        ConfigError: teacher and student do not fit.
    """
    teacher = references.held_against(context.whole)
    if teacher is None or not references.learns(context.trained):
        return
    if context.run == 0:
        teachers.match(
            teacher,
            context.data.event,
            context.trained.runs,
            context.trained.preprocess,
        )
    settings = references.settings_of(teacher, context.data, context.section)
    model = samplers.of(context.trained, context.run, settings.batch_size, fold=False)
    if context.run == 0 and settings.time_batch:
        timed = samplers.rows_of(teacher, context.data, TEST, settings.time_batch, 0)
        dense = settings.density > 0
        yield from context.whole.once(
            ("times", model.flow),
            lambda: list(
                cost.of_batches(model, *timed, settings.batches, density=dense)
            ),
        )
    against = references.of_run(
        context.whole, teacher, 0 if teacher.runs == 1 else context.run
    )
    found = of_student(against, model)
    # The pictures are of first runs.
    pictured(context.whole).setdefault(context.method, found.teacher_log_prob)
    if found.log_weights is not None:
        weighed(context.whole).setdefault(context.method, found.log_weights)
    yield _weights_of(context.trained, context.run)
    yield from found.scores


def floors(whole: Evaluation) -> Iterator[Result]:
    """What no student can be better than: the teacher once more, and training rows.

    Each run of the teacher has its own; the first carries the teacher's times.
    """
    teacher = references.held_against(whole)
    if teacher is None:
        return
    settings = references.settings_of(teacher, whole.data, whole.section)
    kind = "images" if isinstance(whole.data, Images) else "vectors"
    for run in range(teacher.runs):
        seed, taken = teacher.config.seed + run, []
        if run == 0 and settings.time_batch:
            timed = samplers.rows_of(teacher, whole.data, TEST, settings.time_batch, 0)
            model = samplers.of(teacher, 0, settings.batch_size, fold=False)
            sizes = settings.batches
            taken = list(cost.of_batches(model, *timed, sizes, by_dimension=True))
        taken.append(_weights_of(teacher, run))
        against = references.of_run(whole, teacher, run)
        known = samplers.rows_of(teacher, whole.data, TRAIN, settings.samples, seed)
        for method, found in (
            (FLOOR, of_teacher(against)),
            ("training", of_rows(against, *known)),
        ):
            pictured(whole).setdefault(method, found.teacher_log_prob)
            yield whole.baseline(method, (*found.scores, *taken), kind=kind, seed=seed)
            taken = []
        process.release_programs()


def _weights_of(trained: Trained, run: int) -> Score:
    count = timing.parameter_count(teachers.run_of(trained, run)[1])
    return Score("weights", float(count), TEACHER)


def floor(whole: Evaluation, teacher: Trained, run: int) -> list[Score]:
    """What further samples of a run of the teacher score, and its times.

    These are without those of one pass a dimension, which take long.
    """
    settings = references.settings_of(teacher, whole.data, whole.section)
    against = references.of_run(whole, teacher, run)
    found = list(of_teacher(against).scores)
    if settings.time_batch:
        timed = samplers.rows_of(teacher, whole.data, TEST, settings.time_batch, 0)
        found += cost.of_batches(
            against.teacher, *timed, settings.batches, density=False
        )
    return found


def pictured(whole: Evaluation) -> dict[str, np.ndarray]:
    """Method to log p_T of its samples, of first runs, as far as they are scored."""
    return whole.once("teacher_log_prob", dict)


def weighed(whole: Evaluation) -> dict[str, np.ndarray]:
    """Method to the log weights of its draws, likewise."""
    return whole.once("log_weights", dict)


def of_student(against: Reference, student: Sampler) -> Scored:
    """A student's scores.

    The reverse KL takes log q from the student's decoding, which costs no inversion,
    and log p_T from the teacher's encoding. Its mean is of few rows where the student
    leaves what the teacher knows, hence the median, and the mean without draws that
    the teacher finds impossible.

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
    found = _of_draws(against, student, x, own)
    if own is None:
        return found
    gap = own - found.teacher_log_prob
    found.scores.extend(_estimate("reverse_kl", gap, math.inf))
    far = _quantile(np.where(np.isnan(gap), math.inf, gap), FAR_SHARE)
    found.scores.append(Score("reverse_kl", far, TEACHER, FAR, n=len(gap)))
    assert found.log_weights is not None
    found.scores.append(_of_possible(found.log_weights))
    if student.dense and settings.density:
        samples, cond = against.samples[: settings.density], against.cond
        cond = None if cond is None else cond[: settings.density]
        gap = against.log_prob[: settings.density] - student.log_prob(samples, cond)
        counted = ~references.exploded(samples, settings)
        found.scores.extend(_estimate("forward_kl", gap, math.inf, counted))
        found.scores.extend(_fit(against, student))
    return found


def of_teacher(against: Reference) -> Scored:
    """Further samples of the teacher, as of a student: the floors of all scores.

    From itself it is 0 nats away, whatever float error makes of that, so it has no
    divergences; its weights differ from 1 by that error.
    """
    found = _of_draws(against, against.teacher, *_drawn(against, against.teacher))
    if against.settings.density:
        found.scores.extend(_fit(against, against.teacher))
    return found


def _of_draws(
    against: Reference, model: Sampler, x: np.ndarray, own: np.ndarray | None
) -> Scored:
    """Scores of a model's samples, of their weights, and of its draws given little."""
    found = of_rows(against, x, against.others_cond)
    if against.given is not None:
        found.scores.extend(_spread(against, against.given, model))
    if own is None:
        return found
    log_weights = _log_weights(against, model, found.teacher_log_prob - own)
    found.scores.extend(_weights(log_weights))
    return found._replace(log_weights=log_weights)


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
    far, own_far = (
        references.exploded(x, settings),
        references.exploded(against.samples, settings),
    )
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
    found += _tails(against, x[~far], own_far, log_p)
    compared = (
        references.flat(x, cond)[~far],
        references.flat(against.samples, against.cond)[~own_far],
    )
    found += _distances(against, *compared)
    return Scored(found, log_p)


def _drawn(against: Reference, model: Sampler) -> tuple[np.ndarray, np.ndarray | None]:
    key = jax.random.fold_in(jax.random.key(against.seed), references.OTHERS)
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
    median = _quantile(ranked, 0.5)
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
    known = references.flat(against.held_out, against.held_out_cond)
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
        accuracy = Score("c2st", told.accuracy, split, n=told.rows)
        yield accuracy._replace(se=told.standard_error)
        yield Score("c2st", told.p_value, split, P_VALUE)
        yield Score("auc", told.auc, split, n=told.rows, se=told.auc_error)


def _tails(
    against: Reference, x: np.ndarray, own_far: np.ndarray, log_p: np.ndarray
) -> Iterator[Score]:
    """How much too often, or too seldom, samples are in the teacher's tails.

    Columns are of the rows that are not exploded; log p_T is of all.
    """
    rows, own = references.flat(x), references.flat(against.samples)[~own_far]
    pairs = [
        (COLUMNS, rows, own),
        (LOG_PROB, log_p[:, None], against.log_prob[:, None]),
    ]
    for given, first, second in pairs:
        second = second[~np.isnan(second).any(axis=1)]
        if min(len(first), len(second)) < FEWEST:
            continue
        worst = columns.worst_tail(first, second)
        error = worst.factor * worst.log_error
        yield Score("tail", worst.factor, TEACHER, given, n=len(first), se=error)


def _spread(
    against: Reference, given: references.Given, model: Sampler
) -> Iterator[Score]:
    """How wide a model's draws for one condition are, against the teacher's."""
    count, stream = len(given.samples), references.OTHERS_GIVEN
    drawn = references.draws(against, model, given.cond, count, stream)
    found = columns.spread_ratio(drawn, given.samples)
    if found is None:
        return
    for where, value in (
        ("", found.median),
        (CONDITION, found.worst_condition),
        (COLUMN, found.worst_column),
    ):
        yield Score("spread_ratio", value, TEACHER, where, n=len(given.cond))


def _log_weights(against: Reference, model: Sampler, known: np.ndarray) -> np.ndarray:
    """`[draws]`, log p_T - log q of as many draws as the settings say.

    Args:
        against: the teacher.
        model: what draws further ones.
        known: of the samples that there are.
    """
    more = against.settings.weighed - len(known)
    if more <= 0:
        return known[: against.settings.weighed or None]
    key = jax.random.fold_in(jax.random.key(against.seed), references.FURTHER)
    cond = against.others_cond
    cond = None if cond is None else cond[np.arange(more) % len(cond)]
    x, own = model.weighed(key, (more, *against.samples.shape[1:]), cond)
    assert own is not None
    return np.concatenate([known, against.teacher.log_prob(x, cond) - own])


def _weights(log_weights: np.ndarray) -> list[Score]:
    found, n = importance.of(log_weights), len(log_weights)
    error = found.ess_share_error
    share = Score("ess_share", found.ess_share, TEACHER, n=n)
    impossible = 100.0 * float(importance.impossible(log_weights).mean())
    return [
        share._replace(se=error if math.isfinite(error) else None),
        Score("khat", found.khat, TEACHER, n=n),
        Score("largest_weight", found.largest_share, TEACHER, n=n),
        Score("impossible_percent", impossible, TEACHER, n=n),
    ]


def _of_possible(log_weights: np.ndarray) -> Score:
    """The reverse KL of all draws that are weighed, but for impossible ones."""
    found = importance.divergence(log_weights)
    mean = Score("reverse_kl", found.mean, TEACHER, POSSIBLE, n=found.rows)
    return mean._replace(se=found.error if math.isfinite(found.error) else None)


def _quantile(values: np.ndarray, share: float) -> float:
    """A point of the sample: between two infinities there is no mean."""
    return float(np.quantile(values, share, method="higher"))
