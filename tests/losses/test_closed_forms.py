"""Losses of affine Gaussian flows against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.losses import distillation
from tests import floats
from tests.losses import affine

STUDENT = affine.variables([0.5, -1.0], [2.0, 0.5])
TEACHER = affine.variables([-0.25, 0.5], [1.5, 1.25])
FLOW = affine.flow()
GRID = affine.normal_grid()

distances = pytest.mark.parametrize("distance", ["l1", "l2"])
reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


def reduced(values, reduction):
    return np.sum(values) if reduction == "sum" else np.mean(values)


def latent_gap(distance, share=1.0):
    """E d between latents of standard normal data, or a share of the way there.

    Level a between x and z is (1 - a) x + a (x - m) / s, so the gap of two flows is
    a ((x - m1) / s1 - (x - m2) / s2).
    """
    slope = 1 / np.asarray(STUDENT["std"]) - 1 / np.asarray(TEACHER["std"])
    offset = np.asarray(TEACHER["mean"] / TEACHER["std"]) - np.asarray(
        STUDENT["mean"] / STUDENT["std"]
    )
    return affine.mean_distance(distance, share * slope, share * offset)


def test_nll_of_a_gaussian():
    mean, std = np.asarray(STUDENT["mean"]), np.asarray(STUDENT["std"])
    # Cross entropy of N(0, 1) under N(mean, std^2).
    expected = np.sum(
        0.5 * np.log(2 * np.pi) + np.log(std) + (1 + mean**2) / (2 * std**2)
    )
    loss, aux = distillation.nll(FLOW, STUDENT, GRID)
    assert loss == pytest.approx(expected, rel=2e-3)
    assert aux.terms["nll"] == loss
    assert aux.teacher is None


@distances
@reductions
def test_lkd(distance, reduction):
    loss, aux = distillation.lkd(
        FLOW, FLOW, STUDENT, TEACHER, GRID, distance=distance, reduction=reduction
    )
    expected = reduced(latent_gap(distance), reduction)
    assert loss == pytest.approx(expected, rel=2e-3)
    assert set(aux.terms) == {"lkd"}


@distances
@reductions
@pytest.mark.parametrize("over_levels", ["mean", "sum"])
def test_ilkd(distance, reduction, over_levels):
    flow = affine.flow(4)
    loss, aux = distillation.ilkd(
        flow,
        flow,
        STUDENT,
        TEACHER,
        GRID,
        distance=distance,
        reduction=reduction,
        over_levels=over_levels,
    )
    levels = [
        reduced(latent_gap(distance, share), reduction)
        for share in (0.25, 0.5, 0.75, 1.0)
    ]
    floats.assert_close(aux.per_level, levels, rtol=2e-3)
    expected = sum(levels) if over_levels == "sum" else np.mean(levels)
    assert loss == pytest.approx(expected, rel=2e-3)


@distances
@reductions
def test_skd(distance, reduction):
    loss, aux = distillation.skd(
        FLOW, FLOW, STUDENT, TEACHER, (GRID,), distance=distance, reduction=reduction
    )
    slope = np.asarray(STUDENT["std"] - TEACHER["std"])
    offset = np.asarray(STUDENT["mean"] - TEACHER["mean"])
    expected = reduced(affine.mean_distance(distance, slope, offset), reduction)
    assert loss == pytest.approx(expected, rel=2e-3)
    assert aux.terms["rejected"] == 0.0


def test_ratio_compares_the_levels_of_equal_share():
    # Two levels of the student and four of the teacher at equal parameters: those
    # that stand for the same share of the way are equal.
    loss, aux = distillation.ilkd(
        affine.flow(2), affine.flow(4), STUDENT, STUDENT, GRID, pairs="ratio"
    )
    assert loss == pytest.approx(0.0, abs=1e-6)
    assert len(aux.per_level) == 2
    apart, _ = distillation.ilkd(
        affine.flow(2), affine.flow(4), STUDENT, STUDENT, GRID, pairs=((0, 0), (1, 1))
    )
    assert apart > 0.05


def test_levels_of_unequal_number_need_pairs():
    with pytest.raises(ValueError, match='pairs="ratio"'):
        distillation.ilkd(affine.flow(2), affine.flow(4), STUDENT, TEACHER, GRID)


def test_more_likely_data_has_the_lower_combined_loss():
    # The sign of eq. 15: moving the student onto the data lowers the loss.
    def loss(variables):
        value, _ = distillation.combined(
            FLOW, FLOW, variables, TEACHER, GRID, weights=(0.9, 0.0, 0.0)
        )
        return value

    near, far = affine.variables([0.0, 0.0], [1.0, 1.0]), STUDENT
    assert loss(near) < loss(far)
    slope = jax.grad(loss)(far)["mean"]
    moved = {**far, "mean": far["mean"] - 0.1 * slope}
    assert loss(moved) < loss(far)
    assert jnp.sum(jnp.abs(moved["mean"])) < jnp.sum(jnp.abs(far["mean"]))
