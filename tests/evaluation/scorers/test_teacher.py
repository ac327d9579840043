"""Scores of affine Gaussian students, whose divergences have closed forms."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from fdnf import types
from fdnf.evaluation.core import stored
from fdnf.evaluation.core.scores import Result, Run, Score, write
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import cost, teacher
from fdnf.evaluation.scorers import reference as references
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.scorers.reference import Settings
from fdnf.flows.affine import Affine
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.students.base import Student
from fdnf.train import preprocess, teachers, workdirs
from fdnf.train.settings import ConfigError
from tests import floats, mixed
from tests.evaluation import transfer_pair

TEACHER, STUDENT = (0.0, 1.0), (0.4, 0.8)
SETTINGS = Settings(samples=2000, density=1500, judged=600, batch_size=700)


def reference(settings=SETTINGS):
    held_out = np.random.default_rng(1).standard_normal((1000, 3)).astype(np.float32)
    return references.of(transfer_pair.model(*TEACHER), held_out, settings, seed=3)


@pytest.fixture(scope="module")
def against():
    return reference()


def got(found):
    """Looks up the scores of a Scored, or of a list, by metric and other fields."""
    return Result(Run("gaussian", "kl"), tuple(getattr(found, "scores", found))).get


@pytest.fixture(scope="module")
def scored(against):
    return teacher.of_student(against, transfer_pair.model(*STUDENT))


@pytest.fixture(scope="module")
def same(against):
    return teacher.of_student(against, transfer_pair.model(*TEACHER))


def test_divergences_are_the_closed_forms(scored):
    for metric, expected, rows in (
        ("reverse_kl", transfer_pair.divergence(STUDENT, TEACHER), 2000),
        ("forward_kl", transfer_pair.divergence(TEACHER, STUDENT), 1500),
    ):
        found = got(scored)(metric, given="", split="teacher")
        assert abs(found.value - expected) < 4 * found.se
        assert 0 < found.se < 0.1
        assert found.n == rows
        assert got(scored)(metric, given="left_out") is None


def test_weights_are_the_closed_forms(against):
    mean, std = 0.15, 1.1
    wide = dataclasses.replace(SETTINGS, judged=0, density=0, weighed=6000)
    student = transfer_pair.model(mean, std)
    found = teacher.of_student(against._replace(settings=wide), student)
    share, khat = (got(found)(name) for name in ("ess_share", "khat"))
    # E_q[w^2] of a dimension is s^2 / sqrt(2 s^2 - 1) exp(m^2 / (2 s^2 - 1)).
    width = 2 * std**2 - 1
    second = std**2 / math.sqrt(width) * math.exp(mean**2 / width)
    assert abs(share.value - second**-transfer_pair.DIM) < 4 * share.se
    assert (share.n, khat.n, len(found.log_weights)) == (6000, 6000, 6000)
    assert share.se < 0.02
    assert khat.value < 0.3
    # The first of them are the samples, however many are weighed.
    few = dataclasses.replace(wide, weighed=300)
    some = teacher.of_student(against._replace(settings=few), student)
    np.testing.assert_array_equal(some.log_weights, found.log_weights[:300])
    # Draws of the others are further ones.
    assert len(np.unique(found.log_weights)) > 5900


def test_rows_far_from_the_teacher_are_in_the_quantile(scored, against):
    x, own = transfer_pair.model(*STUDENT).weighed(
        jax.random.fold_in(jax.random.key(3), references.OTHERS), (2000, 3)
    )
    gap = np.sort(own - against.teacher.log_prob(x))
    far = got(scored)("reverse_kl", given=teacher.FAR)
    assert (far.value, far.n) == (pytest.approx(float(gap[1998]), rel=1e-4), 2000)


def test_impossible_draws_are_the_closed_form(against):
    std = 20.0
    few = dataclasses.replace(SETTINGS, judged=0, density=0, weighed=6000)
    student = transfer_pair.model(0.0, std)
    find = got(teacher.of_student(against._replace(settings=few), student))
    # log q - log p_T is (s^2 - 1) / 2 |z|^2 - 3 log s, of z that is chi-squared.
    slope, start = (std**2 - 1) / 2, transfer_pair.DIM * math.log(std)
    most = (1000 + start) / slope
    share = stats.chi2.sf(most, transfer_pair.DIM)
    told = find("impossible_percent")
    error = 100 * math.sqrt(share * (1 - share) / 6000)
    assert abs(told.value - 100 * share) < 4 * error
    assert 10 < told.value < 30
    assert told.n == 6000
    within = stats.chi2.cdf(most, transfer_pair.DIM + 2) / (1 - share)
    mean = find("reverse_kl", given=teacher.POSSIBLE)
    expected = slope * transfer_pair.DIM * within - start
    assert abs(mean.value - expected) < 4 * mean.se
    assert mean.n == 6000 * (1 - told.value / 100)
    # All draws have a mean far above.
    assert find("reverse_kl", given="").value > mean.value + 100
    assert got(teacher.of_teacher(against))("impossible_percent").value == 0


def test_tails_are_as_much_too_light_as_the_student_is_narrow(scored, same, against):
    level = 25 / 2000
    threshold = -special.ndtri(level)
    # Of N(0.4, 0.8^2) below the threshold of N(0, 1).
    expected = level / special.ndtr((-threshold - 0.4) / 0.8)
    found = got(scored)("tail", given=teacher.COLUMNS)
    assert found.n == 2000
    assert 0.4 * expected < found.value < 4 * expected
    assert found.value > 8
    floor = [got(same)("tail", given=k) for k in (teacher.COLUMNS, teacher.LOG_PROB)]
    assert all(1 <= score.value < 2.7 for score in floor)
    assert all(0 < score.se < score.value for score in floor)
    # A student that is wide is in the lower tail of log p_T.
    bare = against._replace(settings=dataclasses.replace(SETTINGS, judged=0, density=0))
    wide = teacher.of_student(bare, transfer_pair.model(0.0, 1.5))
    assert got(wide)("tail", given=teacher.LOG_PROB).value > 5


def test_likelihoods_are_the_closed_forms(scored, against):
    own = -transfer_pair.DIM / 2 * math.log(2 * math.pi)
    expected = own - 0.5 * transfer_pair.DIM * (0.8**2 + 0.4**2)
    found = got(scored)("teacher_log_prob", given="")
    assert abs(found.value - expected) < 4 * found.se
    median = got(scored)("teacher_log_prob", given="median").value
    floats.assert_close(median, np.median(scored.teacher_log_prob), 1e-2)
    entropy = own - 0.5 * transfer_pair.DIM
    shift = got(scored)("log_prob_shift", given="")
    assert shift.low < expected - entropy < shift.high
    assert abs(against.log_prob.mean() - entropy) < 0.15
    # Of held-out rows of a standard normal, under N(0.4, 0.8^2).
    fit = got(scored)("data_log_prob", given="", split="test")
    cross = -0.5 * transfer_pair.DIM * (1 + 0.4**2) / 0.8**2
    expected = own - transfer_pair.DIM * math.log(0.8) + cross
    assert abs(fit.value - expected) < 4 * fit.se
    assert fit.n == 1000


def test_distances_see_the_difference_and_only_it(scored, same):
    mine, theirs = got(same), got(scored)
    p_values = [find("ks", given="p").value for find in (mine, theirs)]
    assert p_values[0] > 1e-3 > p_values[1]
    # Along the diagonal the means are 0.69 apart, seen by two in three at the most.
    assert 0.55 < theirs("c2st", split="teacher", given="").value < 0.75
    for split in ("teacher", "test"):
        found = mine("c2st", split=split, given="")
        assert abs(found.value - 0.5) < 0.06
        assert found.n == 1200
        assert mine("c2st", split=split, given="p").value > 1e-3
    distances = [find("sliced_wasserstein").value for find in (theirs, mine)]
    assert distances[0] > 2 * distances[1]
    assert theirs("sliced_wasserstein").n == 600
    assert theirs("mmd").value > 4 * abs(mine("mmd").value)
    for split in ("teacher", "test"):
        area, told = (theirs(name, split=split) for name in ("auc", "c2st"))
        assert told.value < area.value < 0.85
        assert abs(mine("auc", split=split).value - 0.5) < 0.07
        assert area.n == told.n == 1200
        assert 0 < area.se < 0.02
        assert told.se == pytest.approx(math.sqrt(told.value * (1 - told.value) / 1200))
    # The student is the teacher: its weights are 1 but for rounding.
    assert mine("ess_share").value > 1 - 1e-6
    assert theirs("ess_share").value < 0.7
    assert mine("largest_weight").value == pytest.approx(1 / 2000, rel=1e-3)
    # log q as decoded and as encoded are the same density.
    assert abs(mine("reverse_kl").value) < 1e-5


def test_the_teacher_again_is_scored_as_a_student_without_divergences(against, same):
    floor = teacher.of_teacher(against)
    kept = [s for s in same.scores if s.metric not in ("reverse_kl", "forward_kl")]
    assert floor.scores == kept
    assert len(kept) > 10


def test_students_of_one_teacher_share_their_latents(against):
    settings = dataclasses.replace(SETTINGS, judged=0, density=0)
    bare = against._replace(settings=settings)
    a, b = (
        teacher.of_student(bare, transfer_pair.model(0.0, std)) for std in (0.5, 1.0)
    )
    # log p_T falls with |x|, which is |z| times the scale.
    order = np.argsort(a.teacher_log_prob), np.argsort(b.teacher_log_prob)
    assert np.mean(order[0] == order[1]) > 0.9
    own = np.argsort(against.log_prob)
    assert np.mean(own == order[0]) < 0.1


def test_a_student_without_a_density_has_no_divergence(against, scored):
    student = transfer_pair.generator(*STUDENT)
    find, dense = got(teacher.of_student(against, student)), got(scored)
    for metric in ("reverse_kl", "forward_kl", "data_log_prob", "ess_share", "khat"):
        assert find(metric) is None
    pair = [f("teacher_log_prob", given="") for f in (find, dense)]
    error = math.hypot(*(score.se for score in pair))
    assert abs(pair[0].value - pair[1].value) < 4 * error
    assert abs(find("ks", given="").value - dense("ks", given="").value) < 0.06
    assert find("c2st", split="teacher", given="").value > 0.55


class Shifted(Student):
    def __call__(self, z, cond=None):
        return z[0] + 1.0


def test_a_feed_forward_student(against):
    student = Sampler(Shifted(), {})
    bare = against._replace(settings=dataclasses.replace(SETTINGS, judged=0))
    find = got(teacher.of_student(bare, student))
    assert find("reverse_kl") is None
    assert find("forward_kl") is None
    assert find("log_prob_shift", given="").high < 0
    (taken,) = cost.alone(student, against.samples[:8], by_dimension=True)
    assert taken.metric == "sampling_ms"


def test_parts_are_optional(against):
    settings = dataclasses.replace(SETTINGS, density=0, judged=0)
    student = transfer_pair.model(*STUDENT)
    bare = against._replace(settings=settings)
    find = got(teacher.of_student(bare, student))
    assert find("reverse_kl") is not None
    for metric in ("forward_kl", "data_log_prob", "c2st", "sliced_wasserstein", "mmd"):
        assert find(metric) is None
    assert got(teacher.of_teacher(bare))("data_log_prob") is None


def test_exploded_samples_are_counted_and_left_out(against, scored):
    x, _ = transfer_pair.model(*STUDENT).weighed(jax.random.key(0), (2000, 3))
    x = x.copy()
    x[:20], x[20:30], x[30:40] = np.nan, np.inf, 1e6
    settings = dataclasses.replace(SETTINGS, reach=100.0)
    find = got(teacher.of_rows(against._replace(settings=settings), x))
    assert find("exploded_percent").value == 2.0
    lost = find("teacher_log_prob", given="left_out")
    assert (lost.value, lost.n) == (40, 2000)
    mean = got(scored)("teacher_log_prob", given="").value
    assert abs(find("teacher_log_prob", given="").value - mean) < 0.2
    assert find("teacher_log_prob", given="").n == 1960
    assert abs(find("teacher_log_prob", given="median").value) < 10
    assert math.isfinite(find("sliced_wasserstein").value)
    gap = find("ks", given="").value - got(scored)("ks", given="").value
    assert abs(gap) < 0.06


def test_nothing_but_exploded_samples(against):
    x = np.full((100, 3), np.nan, np.float32)
    find = got(teacher.of_rows(against, x))
    assert find("exploded_percent").value == 100.0
    assert find("ks", given="").value == 1.0
    for metric in ("log_prob_shift", "c2st", "mmd"):
        assert find(metric) is None
    assert find("teacher_log_prob", given="median").value == -math.inf
    assert math.isnan(find("teacher_log_prob", given="").value)


def test_estimates_by_hand():
    values = np.array([1.0, 2.0, 6.0, np.nan, np.inf, 100.0])
    counted = np.array([True] * 5 + [False])
    mean, median, lost = teacher._estimate("m", values, math.inf, counted)
    error = np.std([1, 2, 6], ddof=1) / math.sqrt(3)
    assert (mean.value, mean.se, mean.n) == (3.0, error, 3)
    assert (median.value, median.given, median.n) == (math.inf, "median", 6)
    assert (lost.value, lost.given) == (3.0, "left_out")
    mean, median, _ = teacher._estimate("m", -values, -math.inf, counted)
    # Sorted: three times -inf, then -6, -2, -1.
    assert (mean.value, median.value) == (-3.0, -6.0)
    mean, median = teacher._estimate("m", np.array([2.0]), math.inf)
    assert (median.value, mean.se) == (2.0, None)
    mean, _, lost = teacher._estimate("m", np.array([np.nan]), math.inf)
    assert math.isnan(mean.value)
    assert (mean.n, lost.value) == (0, 1)


def test_settings_that_make_no_sense_are_refused():
    wrongs = {"samples": 1}, {"judged": -1}, {"weighed": -1}, {"reach": 0.0}
    for wrong in (*wrongs, {"batches": (1, 0)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Settings(**wrong)
    generator = transfer_pair.generator()
    with pytest.raises(ValueError, match="ExternalFlow has no encode"):
        references.of(generator, np.zeros((5, 3), np.float32), SETTINGS)


def test_settings_follow_the_config():
    trained, data = transfer_pair.trained([(0.0, 1.0)], "nll"), transfer_pair.data()
    section = trained.config.eval
    found = references.settings_of(trained, data, section)
    assert (found.samples, found.density, found.judged) == (400, 400, 400)
    assert (found.batch_size, found.time_batch) == (200, 20)
    floats.assert_close(found.reach, 3 * np.abs(data.train).max())
    assert (found.weighed, found.batches) == (0, ())
    section.update(density_rows=7, judged_rows=60, weighed_rows=900)
    section.time_batches = None
    found = references.settings_of(trained, data, section)
    assert (found.density, found.judged, found.weighed) == (7, 60, 900)
    assert found.batches == (1, 100, 10_000)
    section.time_batch = 0
    assert references.settings_of(trained, data, section).batches == ()


@pytest.fixture(scope="module")
def maf():
    flow = MAF(steps=2, hidden=(8,))
    x = jax.random.normal(jax.random.key(0), (64, 4))
    return Sampler(flow, jax.jit(flow.init)(jax.random.key(1), x)), np.asarray(x)


def test_naive_sampling_gives_the_same_samples(maf):
    model, x = maf
    slow = cost.naive(model.flow)
    assert slow.inverse == "passes"
    fast, plain = (
        jax.jit(functools.partial(flow.apply, method="decode"))(
            model.variables, (jnp.asarray(x),)
        ).x
        for flow in (model.flow, slow)
    )
    np.testing.assert_allclose(fast, plain, atol=1e-4)
    assert cost.naive(Affine()) is None
    assert cost.naive(transfer_pair.generator().flow) is None


def test_times_of_the_flow_alone(maf, monkeypatch):
    model, x = maf
    found = list(cost.alone(model, x, by_dimension=True))
    names = ["sampling_ms", "density_ms", "naive_ms"]
    assert [score.metric for score in found] == names
    assert [score.given for score in found] == [cost.ALONE, cost.ALONE, ""]
    for score in found:
        assert score.n == 64
        assert 0 < score.low <= score.value <= score.high
    # What would take too long is timed on fewer rows.
    monkeypatch.setattr(cost, "LONGEST", 0.0)
    assert [s.n for s in cost.alone(model, x, by_dimension=True)] == [64, 64, 1]
    monkeypatch.undo()
    found = list(cost.of_batches(model, x, None, (64,), by_dimension=True))
    assert [score.metric for score in found[:3]] == names
    batch, slow = found[3:]
    assert (batch.metric, slow.metric) == ("batch_ms", "batch_naive_ms")
    assert (batch.given, batch.n, slow.given, slow.n) == ("64", 64, "64", 64)
    # A row takes 1 ms: 5,000 may be timed.
    taken = Score("naive_ms", 64.0, n=64)
    assert [cost._bearable(taken, size) for size in (100, 10_000)] == [100, 5_000]
    assert cost._bearable(taken, 10_000, passes=4) == 1_250
    flow = IAF(steps=1, hidden=(8,))
    student = Sampler(flow, jax.jit(flow.init)(jax.random.key(0), x))
    assert len(list(cost.alone(student, x, density=False))) == 1
    x = x[:, : transfer_pair.DIM]
    assert len(list(cost.alone(transfer_pair.generator(), x))) == 1


def test_bayes_accuracy_of_a_shifted_student(against):
    student = transfer_pair.model(1.0, 1.0)
    bare = against._replace(settings=dataclasses.replace(SETTINGS, density=0))
    told = teacher.of_student(bare, student)
    area = got(told)("auc", split="teacher")
    bayes = special.ndtr(math.sqrt(transfer_pair.DIM / 2))
    assert abs(area.value - bayes) < 4 * area.se
    found = got(told)("c2st", split="teacher", given="")
    bayes = special.ndtr(math.sqrt(transfer_pair.DIM) / 2)
    assert abs(found.value - bayes) < 4 * math.sqrt(bayes * (1 - bayes) / found.n)


def evaluation(**models):
    section = next(iter(models.values())).config.eval
    section.update(samples=300, density_rows=200, judged_rows=0, time_batch=0)
    return Evaluation(transfer_pair.data(), section, models)


def runs_of(whole, *methods):
    """(method, run) to what finds a score, the floors included."""
    floors = {(r.run.method, r.run.seed): r.get for r in teacher.floors(whole)}
    return floors | {
        (method, run): got(list(teacher.scores(Context(whole, method, run))))
        for method in methods
        for run in range(whole.models[method].runs)
    }


def test_runs_are_held_against_the_teachers_run():
    means = [(0.0, 1.0), (5.0, 1.0)]
    whole = evaluation(
        teacher=transfer_pair.trained(means, "nll"),
        kl=transfer_pair.trained([(0.0, 0.5), (5.0, 0.5)], "kl"),
        x=transfer_pair.trained(means, "x"),
    )
    whole.section.time_batch = 10
    found = runs_of(whole, "kl", "x", "teacher")
    expected = transfer_pair.divergence((0.0, 0.5), (0.0, 1.0))
    for seed in (0, 1):
        kl = found["kl", seed]("reverse_kl", given="")
        assert abs(kl.value - expected) < 5 * kl.se
        assert found["kl", seed]("log_prob_shift", given="").low > 0
        exact = found["x", seed]("reverse_kl", given="").value
        np.testing.assert_allclose(exact, 0, atol=1e-4)
        # A teacher learned from nobody.
        assert found["teacher", seed]("ks") is None
        assert found["teacher_again", seed]("reverse_kl") is None
        assert found["teacher_again", seed]("ks", given="p").value > 1e-3
    # The data are the first teacher's.
    p_values = [found["training", seed]("ks", given="p").value for seed in (0, 1)]
    assert p_values[0] > 1e-3 > p_values[1]
    # Pictures are of first runs.
    shown = teacher.pictured(whole)
    assert set(shown) == {"teacher_again", "training", "kl", "x"}
    assert abs(np.median(shown["training"]) - np.median(shown["teacher_again"])) < 0.5
    # Times are taken once of models of one architecture, and of first runs.
    times = [found[m, 0]("sampling_ms", given=cost.ALONE) for m in ("kl", "x")]
    assert times[0] == times[1]
    assert times[0].value > 0
    for method in ("kl", "x", "teacher_again", "training"):
        assert found[method, 1]("sampling_ms") is None
    again = found["teacher_again", 0]
    assert again("sampling_ms", given=cost.ALONE).value > 0
    assert again("naive_ms") is None  # An affine flow has no such way.
    assert found["training", 0]("sampling_ms") is None


def test_one_teacher_of_several_students():
    whole = evaluation(
        teacher=transfer_pair.trained([(0.0, 1.0)], "nll"),
        kl=transfer_pair.trained([(0.0, 0.5), (1.0, 1.0)], "kl", seed=3),
    )
    found = runs_of(whole, "kl")
    assert set(found) == {
        *(("teacher_again", 0), ("training", 0), ("kl", 0), ("kl", 1))
    }
    gaps = [found["kl", run]("reverse_kl", given="").value for run in (0, 1)]
    expected = [transfer_pair.divergence(s, TEACHER) for s in ((0.0, 0.5), (1.0, 1.0))]
    floats.assert_close(gaps, expected, rtol=0.2)


def test_points_of_a_sweep_are_held_against_the_teacher_they_name(
    tmp_path, monkeypatch
):
    """Each alone, in a directory of its own; floors that all have are one."""
    maf = transfer_pair.trained([(0.0, 1.0)], "nll", seed=1)
    (tmp_path / "maf").mkdir()
    (tmp_path / "maf" / workdirs.FINISHED).write_text("{}")
    monkeypatch.setattr(teachers, "load", {tmp_path / "maf": maf}.__getitem__)
    for method, std in (("kl", 0.5), ("x", 1.0)):
        student = transfer_pair.trained([(0.0, std)], method, seed=1)
        student.config.teacher = {"workdir": str(tmp_path / "maf")}
        whole = evaluation(**{method: student})
        place = tmp_path / "sweep" / method
        whole = dataclasses.replace(whole, where={method: place})
        run = Run("gaussian", method, 1, "IAF", "vectors")
        scores = tuple(teacher.scores(Context(whole, method, 0)))
        for result in (*teacher.floors(whole), Result(run, scores)):
            write(result, place / "results")
    found = stored.read(tmp_path / "sweep")
    assert sorted((r.run.method, r.run.seed) for r in found) == [
        *(("kl", 1), ("teacher_again", 1), ("training", 1), ("x", 1))
    ]
    gaps = {r.run.method: r.get("reverse_kl", given="") for r in found}
    expected = transfer_pair.divergence((0.0, 0.5), TEACHER)
    assert abs(gaps["kl"].value - expected) < 5 * gaps["kl"].se
    assert abs(gaps["x"].value) < 1e-4


def test_without_its_teacher_a_student_is_not_held(tmp_path, caplog):
    kl = transfer_pair.trained([(0.0, 0.5)], "kl")
    kl.config.teacher = {"workdir": str(tmp_path / "gone")}
    whole = dataclasses.replace(evaluation(kl=kl), where={"kl": tmp_path / "kl"})
    assert not list(teacher.floors(whole))
    assert not list(teacher.scores(Context(whole, "kl", 0)))
    assert "no finished run in" in caplog.text


def test_who_learned_no_density_is_not_held():
    means = [(0.0, 1.0)]
    plain = transfer_pair.trained(means, "nll")
    whole = evaluation(teacher=plain, student=transfer_pair.trained(means, "nll"))
    assert not list(teacher.floors(whole))
    assert not list(teacher.scores(Context(whole, "student", 0)))
    # Nor is what takes a condition.
    kl = transfer_pair.trained(means, "kl")
    plain.meta["preprocess"]["classes"] = 3
    whole = evaluation(teacher=plain, kl=kl)
    assert not list(teacher.floors(whole))
    assert not list(teacher.scores(Context(whole, "kl", 0)))


def test_runs_that_do_not_fit_are_refused():
    whole = evaluation(
        teacher=transfer_pair.trained([(0.0, 1.0)] * 2, "nll"),
        kl=transfer_pair.trained([(0.0, 1.0)], "kl"),
    )
    with pytest.raises(ConfigError, match="2 runs, the student 1"):
        list(teacher.scores(Context(whole, "kl", 0)))


def gaussian(slope, std):
    """x given c is N(slope c, std^2) in each dimension; of another library."""

    def encode(variables, x, cond):
        z = (x - slope * cond) / std
        prior = -0.5 * jnp.sum(z**2 + math.log(2 * math.pi), axis=1)
        log_det = jnp.full(len(x), -3 * math.log(std))
        return types.Encoding((z,), log_det, (z,), prior)

    def decode(variables, z, cond):
        x = slope * cond + std * z[0]
        return types.Decoding(x, jnp.full(len(x), 3 * math.log(std)), (x,))

    return Sampler(types.ExternalFlow(encode, decode), {}, batch_size=700)


def test_students_are_held_against_a_teacher_given_conditions():
    """One that ignores them has the right marginals, and is found out."""
    rng = np.random.default_rng(0)
    cond = rng.standard_normal((900, 3)).astype(np.float32)
    noise = rng.standard_normal((900, 3)).astype(np.float32)
    settings = Settings(samples=1400, density=700, judged=400, batch_size=700)
    against = references.of(
        gaussian(0.8, 0.6), 0.8 * cond + 0.6 * noise, settings, 3, cond
    )
    same, deaf = (
        got(teacher.of_student(against, gaussian(*how)))
        for how in ((0.8, 0.6), (0.0, 1.0))
    )
    # What is judged has each condition once.
    both = np.concatenate([against.cond[:400], against.others_cond[:400]])
    assert len(np.unique(both, axis=0)) == 800
    # Of each dimension log(0.6) + (1 + (0.8 c)^2) / (2 0.36) - 1/2.
    squares = np.mean(np.sum(against.others_cond**2, axis=1))
    expected = 3 * (math.log(0.6) + 1 / 0.72 - 0.5) + 0.64 / 0.72 * squares
    found = deaf("reverse_kl", split="teacher")
    assert abs(found.value - expected) < 4 * found.se
    assert abs(same("reverse_kl", split="teacher").value) < 1e-4
    for split in ("teacher", "test"):
        assert deaf("c2st", split=split).value > 0.65
        assert same("c2st", split=split).value < 0.6
    for metric in ("sliced_wasserstein", "mmd"):
        gaps = [each(metric, split="teacher").value for each in (same, deaf)]
        assert gaps[0] < 0.7 * gaps[1]
    # Of 28 conditions 50 draws each.
    for where in ("", teacher.CONDITION, teacher.COLUMN):
        wide, right = (
            each("spread_ratio", split="teacher", given=where) for each in (deaf, same)
        )
        assert abs(right.value - 1) < 0.3
        assert abs(wide.value - 1 / 0.6) < 0.6
        assert wide.n == 1400
    assert abs(deaf("spread_ratio", given="").value - 1 / 0.6) < 0.1
    assert same("data_log_prob", split="test").value > (
        deaf("data_log_prob", split="test").value + 1
    )


def test_a_table_with_conditions_and_weights_is_scored_whole():
    data, config = mixed.table(), mixed.config()
    config.eval.update(samples=60, batch_size=60, time_batch=4, time_batches=())
    config.eval.update(judged_rows=0)
    prepared = preprocess.make(None, data)
    first = {"x": jnp.asarray(data.train), "beside": jnp.asarray(data.conditions[0])}
    seen = prepared.train(jax.random.key(0), first)
    flow = NICE(1, (4,))
    made = jax.jit(flow.init)(jax.random.key(1), seen["x"], seen["cond"])
    both = {"constants": {}, **jax.tree.map(lambda leaf: leaf[None], made)}
    meta = {"event": (3,), "preprocess": preprocess.describe(prepared)}
    model = teachers.Trained(flow, both, config, meta)
    learned = mixed.config()
    learned.loss.method = "kl"
    models = {"teacher": model, "kl": model._replace(config=learned)}
    whole = Evaluation(data, config.eval, models)
    floors = list(teacher.floors(whole))
    assert [result.run.method for result in floors] == ["teacher_again", "training"]
    find = got(list(teacher.scores(Context(whole, "kl", 0))))
    # The student is the teacher.
    assert abs(find("reverse_kl", split="teacher").value) < 1e-4
    assert find("sampling_ms", given=cost.ALONE).n == 4
    counted = int((data.weights[2] > 0).sum())
    assert 0 < find("data_log_prob", split="test").n < counted
