"""Samples that a student proposes and its teacher weighs, in closed forms.

The teacher's x_0 = z_0 + c, x_1 = 0.8 z_1 + 0.3 (x_0 - c)^2, so that x_0 - c and
(x_1 - 0.3 (x_0 - c)^2) / 0.8 are standard normal. The student is off in place, width
and form: x = 1.4 z + 0.5 + 0.8 c.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import fdnf
from fdnf import corrected
from fdnf.types import Decoding, Encoding, ExternalFlow, Judge

ROWS = 4000
NAUGHT = jnp.float32(0.0)


def normal(z):
    return -0.5 * jnp.sum(z**2 + math.log(2 * math.pi), axis=1)


def shift(cond):
    return 0.0 if cond is None else cond[:, :1]


def decode(variables, z, cond=None):
    log_det = jnp.full(len(z[0]), 2 * math.log(1.4))
    return Decoding(1.4 * z[0] + 0.5 + 0.8 * shift(cond) + variables, log_det, ())


def log_q(x, cond=None):
    z = (x - 0.5 - 0.8 * shift(cond)) / 1.4
    return normal(z) - 2 * math.log(1.4)


def standardised(x, cond=None):
    first = x[:, :1] - shift(cond)
    return jnp.concatenate([first, (x[:, 1:] - 0.3 * first**2) / 0.8], axis=1)


def log_p(x, cond=None):
    return normal(standardised(x, cond)) - math.log(0.8)


def judge(log_prob):
    """A flow of that density, whose latents are those of `log_p`."""

    def encode(variables, x, cond=None):
        zeros = jnp.zeros(len(x)) + variables
        return Encoding((standardised(x, cond),), zeros, (), log_prob(x, cond))

    def ends(variables, z, cond=None):
        first = z[0][:, :1]
        x = jnp.concatenate([first, 0.8 * z[0][:, 1:] + 0.3 * first**2], axis=1)
        x = x.at[:, :1].add(shift(cond))
        return Decoding(x, jnp.full(len(x), math.log(0.8)) + variables, ())

    return ExternalFlow(encode=encode, decode=ends)


STUDENT, TEACHER = ExternalFlow(decode=decode), judge(log_p)


def draw(n=ROWS, cond=None, teacher=TEACHER, student=STUDENT, key=0, **options):
    return fdnf.corrected_sample(
        student, teacher, NAUGHT, NAUGHT, key, n, cond, event=(2,), **options
    )


def p_value(x, cond=None):
    """That these are samples of the teacher: Kolmogorov-Smirnov, of both and their sum.

    The least of three, times three.
    """
    z = np.asarray(standardised(jnp.asarray(x), cond))
    columns = [z[:, 0], z[:, 1], (z[:, 0] + z[:, 1]) / math.sqrt(2)]
    return 3 * min(stats.kstest(each, "norm").pvalue for each in columns)


WEIGHING = ("metropolis", "resampling")


@pytest.mark.parametrize("method", WEIGHING)
def test_samples_are_the_teachers(method):
    found = draw(method=method)
    assert found.x.shape == (ROWS, 2)
    assert p_value(found.x) > 0.01
    alone = STUDENT.apply(NAUGHT, jax.random.key(1), (ROWS, 2), method="sample")
    assert p_value(alone) < 1e-20
    assert found.told == ()
    assert found.distance < corrected.TOLERANCE
    assert (found.repeated == 0.0) == (method == "metropolis")
    np.testing.assert_array_equal(draw(method=method).x, found.x)
    assert (np.asarray(draw(method=method, key=1).x) != np.asarray(found.x)).any()


@pytest.mark.filterwarnings("ignore::fdnf.corrected.CorrectionWarning")
def test_defects_give_each_latent_its_sample():
    """A round leaves 0.4 of the first defect, and 0.75 of the second, or less."""
    cond = np.linspace(-3.0, 3.0, ROWS, dtype=np.float32)[:, None]
    found = draw(cond=cond, method="defects", steps=64, batch=1000)
    z = jax.random.normal(jax.random.key(0), (ROWS, 2))
    exact = TEACHER.apply(NAUGHT, (z,), cond, method="decode").x
    np.testing.assert_allclose(found.x, exact, atol=1e-3)
    assert p_value(found.x, cond) > 0.01
    assert (found.acceptance, found.proposals, found.steps) == (1.0, ROWS, 1)
    # 0.75^k = 3e-4 takes 28, of equal paces.
    assert 5 < found.rounds < 16
    # Weights are of the student's own samples.
    weighed = draw(cond=cond, steps=1)
    assert found.uncorrected == pytest.approx(weighed.uncorrected, abs=0.02)
    assert found.told == ()
    # Of too few rounds the teacher ends what is left.
    fewer = draw(cond=cond, method="defects", steps=4, batch=1000)
    np.testing.assert_allclose(fewer.x, exact, atol=1e-3)
    assert 0.0 <= fewer.acceptance < 0.2
    assert 3 < fewer.rounds <= 4


def test_defects_of_a_judge():
    with pytest.raises(ValueError, match="a Judge has none: method='metropolis'"):
        draw(10, teacher=Judge(lambda v, x, cond: log_p(x)), method="defects")
    with pytest.raises(ValueError, match="has no density of its samples"):
        draw(10, student=SILENT, method="defects")


# What a weight w = p / q would be if it were computed wrongly, as log p of a teacher.
WRONG = {
    "q omitted": lambda x, cond: log_p(x) + log_q(x),
    "p omitted": lambda x, cond: jnp.zeros(len(x)),
    "sign swapped": lambda x, cond: 2 * log_q(x) - log_p(x),
    "no correction": lambda x, cond: log_q(x),
    "half of it": lambda x, cond: 0.5 * (log_p(x) + log_q(x)),
    "determinant forgotten": lambda x, cond: log_p(x) + 0.2 * x[:, 0],
}


@pytest.mark.filterwarnings("ignore::fdnf.corrected.CorrectionWarning")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_weight_would_be_seen(wrong):
    found = draw(teacher=judge(WRONG[wrong]), steps=8)
    assert p_value(found.x) < 1e-6


@pytest.mark.parametrize(
    ("method", "same"), [("metropolis", 1), ("resampling", 1), ("resampling", 50)]
)
def test_each_row_has_its_own_condition(method, same):
    """One row a condition, and 50 of them, which are not beside each other."""
    count = 2000 // same
    cond = np.tile(np.linspace(-3.0, 3.0, count, dtype=np.float32)[:, None], (same, 1))
    found = draw(2000, cond, method=method, batch=1000)
    assert found.told == ()
    assert p_value(found.x, cond) > 0.01
    assert p_value(found.x, cond[::-1]) < 1e-20
    if same == 1:
        assert len(np.unique(np.asarray(found.x), axis=0)) == 2000


def test_a_condition_for_all():
    found = draw(500, np.full((1, 1), 2.0, np.float32))
    assert p_value(found.x, np.full((500, 1), 2.0, np.float32)) > 0.01


def test_a_density_up_to_a_constant():
    """Which may depend on the condition."""
    cond = np.linspace(-3.0, 3.0, 1000, dtype=np.float32)[:, None]
    judge_of = Judge(lambda v, x, cond: log_p(x, cond) + 20.0 * cond[:, 0] - 70.0)
    found, same = (draw(1000, cond, each) for each in (judge_of, TEACHER))
    assert found.told == ()
    assert found.ess_share == pytest.approx(same.ess_share, abs=0.02)
    assert found.distance == pytest.approx(same.distance, abs=1e-3)
    assert p_value(found.x, cond) > 0.01
    with pytest.warns(corrected.CorrectionWarning, match="in total variation"):
        few = draw(1000, cond, judge_of, steps=2)
    assert few.ess_share == pytest.approx(same.ess_share, abs=0.02)


def line(scale):
    """x = scale z against a standard normal teacher."""

    def stretched(variables, z, cond=None):
        log_det = jnp.full(len(z[0]), z[0].shape[1] * math.log(scale))
        return Decoding(scale * z[0] + variables, log_det, ())

    return ExternalFlow(decode=stretched), judge(lambda x, cond: normal(x))


def test_effective_size_acceptance_and_distance_in_closed_form():
    """Of x = 1.3 z, whose weights fall with |x|: x moves to y if |y| < |x|, or by w.

    E w^2 = s^2 / sqrt(2 s^2 - 1); in equilibrium a move is accepted with probability
    2 P(|y| < |x|), x ~ N(0, 1), y ~ N(0, s^2), which is 4 / pi arctan(1 / s).
    """
    student, teacher = line(1.3)
    found = fdnf.corrected_sample(
        student, teacher, NAUGHT, NAUGHT, 0, 8000, event=(1,), steps=8
    )
    assert found.ess_share == pytest.approx(math.sqrt(2 * 1.69 - 1) / 1.69, abs=0.01)
    assert found.acceptance == pytest.approx(4 / math.pi * math.atan(1 / 1.3), abs=0.01)
    # The densities cross at |x| = a.
    a = math.sqrt(2 * math.log(1.3) / (1 - 1 / 1.69))
    apart = 2 * (stats.norm.cdf(a) - stats.norm.cdf(a / 1.3))
    assert found.uncorrected == pytest.approx(apart, abs=0.01)
    assert found.distance < 1e-3
    assert (found.steps, found.proposals) == (8, 64000)
    assert len(found.log_weights) == 64000
    assert stats.kstest(np.asarray(found.x)[:, 0], "norm").pvalue > 0.01


def test_one_step_is_the_student():
    with pytest.warns(corrected.CorrectionWarning, match="in total variation"):
        found = draw(steps=1)
    z = (np.asarray(found.x) - 0.5) / 1.4
    assert stats.kstest(z[:, 0], "norm").pvalue > 0.01
    assert found.distance == found.uncorrected


@pytest.mark.parametrize(
    ("scale", "method", "text"),
    [
        (0.4, "metropolis", r"too wide: Pareto k-hat .*reverse KL.*steps=\d"),
        (0.1, "metropolis", "% of the teacher's mass is where the student draws"),
        (0.55, "resampling", "% of the rows repeat others.*method='metropolis'"),
    ],
)
def test_weights_that_are_too_wide_are_told(scale, method, text):
    with pytest.warns(corrected.CorrectionWarning, match=text):
        fdnf.corrected_sample(
            *line(scale), NAUGHT, NAUGHT, 0, 2000, event=(2,), method=method, steps=4
        )


SILENT = ExternalFlow(decode=lambda v, z, cond=None: Decoding(z[0], None, ()))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "gibbs"}, "method='gibbs'; known: metropolis, resampling, defects"),
        ({"n": 0}, "n=0: expected a whole number, at least 1"),
        ({"n": True}, "n=True: expected a whole number"),
        ({"steps": 0}, "steps=0: expected a whole number"),
        ({"batch": 0}, "batch=0: expected a whole number"),
        ({"tolerance": 0.0}, r"tolerance=0.0: expected a share in \(0, 1\)"),
        ({"cond": np.zeros((3, 1))}, r"shape \(3, 1\) for 4000 rows: expected one a"),
        ({"student": SILENT}, "has no density of its samples"),
        ({"teacher": STUDENT}, "this ExternalFlow has no 'encode'"),
        (
            {"teacher": judge(lambda x, cond: jnp.full(len(x), -jnp.inf))},
            "none of 4096 proposals has a density under the teacher",
        ),
    ],
)
def test_what_cannot_be(options, text):
    with pytest.raises(ValueError, match=text):
        draw(**options)


@pytest.mark.parametrize("method", WEIGHING)
def test_proposals_that_are_not_finite_are_never_taken(method):
    def broken(variables, z, cond=None):
        decoding = decode(variables, z)
        return decoding._replace(x=jnp.where(z[0] > 1.0, jnp.nan, decoding.x))

    options = {"student": ExternalFlow(decode=broken), "method": method}
    with pytest.warns(corrected.CorrectionWarning, match="mass"):
        found = draw(1000, **options)
    assert np.isfinite(np.asarray(found.x)).all()
    assert found.lost / found.proposals == pytest.approx(0.29, abs=0.03)
