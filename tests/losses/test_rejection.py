"""SKD with samples that explode: they count as 0 among all rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import types
from fdnf.losses import distillation
from tests import floats

Z = jnp.asarray(
    [[0.5, -1.0], [3.0, 0.1], [-0.2, 0.3], [4.0, -4.0], [1.0, 1.5]], jnp.float32
)
STUDENT = {"scale": jnp.asarray([0.7, 1.1]), "shift": jnp.asarray([0.1, -0.3])}
TEACHER = {"scale": jnp.asarray([1.0, 0.9]), "shift": jnp.asarray([0.0, 0.2])}


def decode(variables, z, cond=None, *, beyond=None, into="inf"):
    """An affine map; rows with z_0 > beyond overflow, or are 0 / 0."""
    del cond
    (z,) = z
    x = z * variables["scale"] + variables["shift"]
    if beyond is not None:
        far = z[:, :1] > beyond
        if into == "inf":
            x = x * jnp.where(
                far, jnp.exp(100.0 * z[:, :1] * variables["scale"][:1]), 1
            )
        else:
            x = x + jnp.where(far, jnp.log(-jnp.abs(variables["scale"])), 0)
    zero = jnp.zeros(x.shape[:1])
    return types.Decoding(x, zero, ())


def flow(**settings):
    return types.ExternalFlow(decode=functools.partial(decode, **settings))


SAFE = flow()


def value_and_grad(student, teacher, z, **settings):
    loss = functools.partial(distillation.skd, student, teacher, **settings)
    return jax.value_and_grad(loss, has_aux=True)(STUDENT, TEACHER, (z,))


@pytest.mark.parametrize("into", ["inf", "nan"])
@pytest.mark.parametrize("who", ["student", "teacher", "both"])
def test_exploded_rows_leave_no_trace(who, into):
    wild = flow(beyond=2.0, into=into)
    student = wild if who in ("student", "both") else SAFE
    teacher = wild if who in ("teacher", "both") else SAFE
    exploded = wild.apply(STUDENT, (Z,), method="decode").x
    assert np.any(~np.isfinite(exploded)), "the case does not explode"
    (loss, aux), slope = value_and_grad(student, teacher, Z)
    kept = Z[Z[:, 0] <= 2.0]
    (expected, _), expected_slope = value_and_grad(SAFE, SAFE, kept)
    # Three of five rows: the mean is over all.
    assert loss == pytest.approx(3 / 5 * float(expected), rel=1e-5)
    assert aux.terms["rejected"] == pytest.approx(2 / 5)
    expected_slope = jax.tree.map(lambda leaf: 3 / 5 * leaf, expected_slope)
    for got, wanted in zip(
        jax.tree.leaves(slope), jax.tree.leaves(expected_slope), strict=True
    ):
        assert np.all(np.isfinite(got))
        floats.assert_close(got, wanted, rtol=1e-6)


def test_without_rejection_the_gradient_would_be_nan():
    # The case is worth its name: screening is what keeps it out.
    wild = flow(beyond=2.0)
    _, slope = value_and_grad(wild, SAFE, Z, screen_student=False)
    assert not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("into", ["inf", "nan"])
def test_all_rows_rejected_is_loss_zero(into):
    wild = flow(beyond=-100.0, into=into)
    far = jnp.abs(Z) + 3.0
    (loss, aux), slope = value_and_grad(SAFE, wild, far)
    assert loss == 0.0
    assert aux.terms["rejected"] == 1.0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(slope))


def test_limit_rejects_finite_samples_of_either_flow():
    (loss, aux), slope = value_and_grad(SAFE, SAFE, Z, limit=2.0)
    inside = np.max(np.abs(Z * TEACHER["scale"] + TEACHER["shift"]), axis=1) <= 2.0
    inside &= np.max(np.abs(Z * STUDENT["scale"] + STUDENT["shift"]), axis=1) <= 2.0
    assert 0 < inside.sum() < len(Z)
    assert aux.terms["rejected"] == pytest.approx(1 - inside.mean())
    (expected, _), expected_slope = value_and_grad(SAFE, SAFE, Z[inside])
    kept = inside.mean()
    assert loss == pytest.approx(kept * float(expected), rel=1e-5)
    expected_slope = jax.tree.map(lambda leaf: kept * leaf, expected_slope)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
        slope,
        expected_slope,
    )


def test_distilled_maf_survives_an_exploding_teacher():
    from fdnf.flows.maf import MAF
    from tests import laws

    student = laws.Case("student", MAF(unroll=1, steps=2, hidden=(8,)), (2,), noise=0.2)
    teacher = flow(beyond=2.0)
    loss = functools.partial(distillation.skd, student.module, teacher)
    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, aux), slope = gradient(student.variables, TEACHER, (Z,))
    (expected, _), expected_slope = gradient(
        student.variables, TEACHER, (Z[Z[:, 0] <= 2.0],)
    )
    assert aux.terms["rejected"] == pytest.approx(2 / 5)
    assert value == pytest.approx(3 / 5 * float(expected), rel=1e-5)
    expected_slope = jax.tree.map(lambda leaf: 3 / 5 * leaf, expected_slope)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        slope,
        expected_slope,
    )
