"""Proposition 1: closed forms against each other, against draws, and at their ends."""

import math

import numpy as np
import pytest

from fdnf.experiments.gaussian import proposition_1


def by_numpy(weights, rows=200_000):
    x = np.random.default_rng(0).normal(size=(rows, len(weights)))
    return np.mean(np.square(x) @ np.asarray(weights) > 0)


@pytest.mark.parametrize(
    "weights",
    [(0.5, -0.5), (1.0, -3.0, 0.2), (0.9, 0.9, 0.9, -40.0), (-1.0, -1.0, -1.0, 2.0)],
)
def test_the_integral_is_what_draws_find(weights):
    exact = proposition_1.probability(weights)
    error = math.sqrt(exact * (1 - exact) / 200_000)
    assert 0.05 < exact < 0.95
    assert abs(by_numpy(weights) - exact) < 4 * error


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.9, 30.0), (0.01, 0.5)])
def test_arc_beta_and_integral_agree(a, b):
    arc = proposition_1.in_the_plane(a, -b)
    assert proposition_1.of_two_values(a, 1, -b, 1) == pytest.approx(arc, rel=1e-9)
    assert proposition_1.probability((a, -b)) == pytest.approx(arc, abs=1e-7)


@pytest.mark.parametrize(("k", "m"), [(3, 5), (15, 1), (1, 15), (60, 4), (128, 128)])
def test_beta_and_integral_agree(k, m):
    beta = proposition_1.of_two_values(0.4, k, -1.7, m)
    whole = proposition_1.probability((0.4,) * k + (-1.7,) * m)
    assert whole == pytest.approx(beta, abs=1e-9)


def test_ends_and_symmetry():
    assert proposition_1.probability(proposition_1.rho((1.5, 4.0))) == 1.0
    assert proposition_1.probability(proposition_1.rho((0.5, 0.9))) == 0.0
    assert proposition_1.of_two_values(0.3, 7, -0.3, 7) == pytest.approx(0.5)
    weights = np.array([0.3, -2.0, 0.7])
    one, other = (proposition_1.probability(s * weights) for s in (1, -1))
    assert one + other == pytest.approx(1.0, abs=1e-9)
    # Neither scale nor a weight of zero changes the event.
    assert proposition_1.probability([*(1e4 * weights), 0.0]) == pytest.approx(one)
    for wrong in ([], [0.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="expected finite"):
            proposition_1.probability(wrong)


def test_draws_of_the_signal_are_within_their_error():
    found = [proposition_1.by_draws(case, 4096) for case in proposition_1.cases()]
    assert {case.rows for case in found} == {4096}
    assert all(abs(c.found - c.exact) <= 4 * c.error + 1e-9 for c in found)
    assert sum(0.02 < c.exact < 0.98 for c in found) >= 8


def test_random_teachers_over_dimensions():
    groups = proposition_1.over_dimensions((2, 16), teachers=20)
    assert [len(group) for group in groups["R"]] == [20, 20]
    raw, scaled = (np.array(groups[name]) for name in ("R", "R/sqrt(T)"))
    # At the scale of Marchenko and Pastur thin directions win as T grows.
    assert scaled[1].mean() < 0.5 * scaled[0].mean()
    assert np.all(scaled <= raw + 1e-9)
