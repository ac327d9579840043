"""Guided distillation: exact students, plain numpy, differences, rows that explode."""

import pytest

from fdnf import types
from fdnf.flows.glow import Glow
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import RealNVP
from fdnf.losses import guided

TEACHER = MAF(3, (6,), unroll=1)
STUDENT = IAF.of(TEACHER)
FOREIGN = types.ExternalFlow(encode=lambda variables, x, cond=None: None)


@pytest.mark.parametrize(
    ("student", "teacher", "settings", "message"),
    [
        (IAF(2), TEACHER, {}, "local: the student has 2 blocks, the teacher 3; give"),
        (IAF(3, mixing="lu"), TEACHER, {}, r"of the order \('masked', 'lu'\), those"),
        (RealNVP(3), TEACHER, {}, "'coupling', 'alternating', 'none'.*IAF.of"),
        (NICE(3), TEACHER, {}, "a student NICE is no stack of equal blocks; train it"),
        (STUDENT, Glow(), {}, 'units="teacher": a teacher Glow does not tell how far'),
        (STUDENT, FOREIGN, {}, 'ExternalFlow does not.*measure in units="level"'),
        (
            STUDENT,
            FOREIGN,
            dict(terms=("parameters",)),
            "a teacher ExternalFlow does not tell what its blocks compute; leave",
        ),
        (STUDENT, TEACHER, dict(units="std"), "unknown units 'std'; known: .'teacher'"),
        (STUDENT, TEACHER, dict(terms=("path",)), "unknown terms .*'path_x'"),
        (STUDENT, TEACHER, dict(terms=()), "unknown terms"),
        (STUDENT, TEACHER, dict(huber=0.0), "huber=0.0: expected a number above 0"),
    ],
)
def test_flows_that_do_not_compare_are_refused(student, teacher, settings, message):
    with pytest.raises(ValueError, match=message):
        guided.check(student, teacher, **settings)


def test_what_compares_is_not_refused():
    everything = {"terms": guided.TERMS}
    assert guided.check(STUDENT, TEACHER, **everything) is None
    ends = ("path_x", "path_z", "kl", "forward_kl")
    for student in (RealNVP(2), NICE(2), IAF(5)):
        guided.check(student, TEACHER, terms=ends)
    for units in ("level", "plain"):
        guided.check(STUDENT, FOREIGN, terms=("local", *ends), units=units)
    guided.check(IAF(3), TEACHER, **everything)
    guided.check(RealNVP(2), RealNVP(2, hidden=(4,)))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"local": 0.0}, "turn on no term; known: .'local'"),
        ({"paths": 1.0}, r"weights of unknown terms \['paths'\]"),
        ((1.0, 2.0), "2 weights: expected one each of"),
    ],
)
def test_weights_are_of_terms(weights, message):
    with pytest.raises(ValueError, match=message):
        guided.terms_of(weights)
    assert guided.terms_of({"kl": 1.0, "local": 2.0, "path_z": 0}) == ("local", "kl")
    assert guided.terms_of((0, 0, 1, 0, 0, 2.0)) == ("path_z", "forward_kl")
