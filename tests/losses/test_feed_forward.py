"""A flow teaches a feed-forward network: closed forms, rejection, other libraries."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.losses import feed_forward, spectra
from fdnf.metrics import lpips
from fdnf.types import Decoding, ExternalFlow
from tests import floats
from tests.metrics.tiny_lpips import tiny_params

RNG = np.random.default_rng(0)
Z = (jnp.asarray(RNG.normal(size=(4, 6)), jnp.float32),)
COND = jnp.asarray(RNG.normal(size=(4, 6)), jnp.float32)


def decode(variables, z, cond=None):
    x = variables["scale"] * z[0] + variables["shift"]
    x = x if cond is None else x + cond
    return Decoding(x, jnp.zeros(x.shape[0]), ())


def function(variables, z, cond=None):
    return decode(variables, z, cond).x


TEACHER = ExternalFlow(decode=decode)
OURS = {"scale": jnp.asarray(2.0), "shift": jnp.asarray(0.5)}
THEIRS = {"scale": jnp.asarray(2.0), "shift": jnp.asarray(-1.0)}


class Module(nn.Module):
    """A module that is no Student: only `__call__`."""

    @nn.compact
    def __call__(self, z, cond=None):
        return nn.Dense(6)(z[0]) + cond


@dataclasses.dataclass(frozen=True)
class Squared:
    """A feature of one number a row."""

    def __call__(self, variables, student, teacher):
        return variables * jnp.sum((student - teacher) ** 2, axis=1)


def test_reconstruction_is_the_mean_distance():
    # The same scale, shifts 1.5 apart: |T - S| is 1.5 everywhere.
    loss, aux = feed_forward.feed_forward(function, TEACHER, OURS, THEIRS, Z, COND)
    assert float(loss) == pytest.approx(1.5)
    assert set(aux.terms) == {"reconstruction", "rejected"}
    assert float(aux.terms["rejected"]) == 0
    floats.assert_close(aux.student.x, function(OURS, Z, COND), rtol=1e-6)
    floats.assert_close(aux.teacher.x, function(THEIRS, Z, COND), rtol=1e-6)


def test_feature_and_its_weight():
    loss, aux = feed_forward.feed_forward(
        function,
        TEACHER,
        OURS,
        THEIRS,
        Z,
        feature=Squared(),
        feature_variables=jnp.asarray(2.0),
        alpha=0.1,
    )
    # 2 times 6 dimensions times 1.5 squared.
    assert float(aux.terms["feature"]) == pytest.approx(27.0, rel=1e-5)
    assert float(loss) == pytest.approx(1.5 + 2.7, rel=1e-5)


@pytest.mark.parametrize("student", [function, TEACHER, Module()], ids=type)
def test_kinds_of_students(student):
    variables = OURS
    if isinstance(student, nn.Module):
        variables = student.init(jax.random.key(0), Z, COND)
    loss, aux = feed_forward.feed_forward(student, TEACHER, variables, THEIRS, Z, COND)
    expected = jnp.abs(aux.student.x - function(THEIRS, Z, COND)).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_zero_at_the_teacher_and_no_gradient_into_it():
    def total(ours, theirs, weight):
        return feed_forward.feed_forward(
            function,
            TEACHER,
            ours,
            theirs,
            Z,
            feature=Squared(),
            feature_variables=weight,
            alpha=0.5,
        )[0]

    weight = jnp.asarray(1.0)
    assert float(total(THEIRS, THEIRS, weight)) == 0
    ours, *fixed = jax.grad(total, argnums=(0, 1, 2))(OURS, THEIRS, weight)
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(fixed))
    # d/dshift of |1.5| + 0.5 * 6 * 1.5^2.
    assert float(ours["shift"]) == pytest.approx(1 + 0.5 * 6 * 2 * 1.5, rel=1e-5)


def exploding(variables, z, cond=None):
    """Of the teacher, row 0 is no number, row 1 far away."""
    x = decode(variables, z, cond).x
    return Decoding(x.at[0, 2].set(jnp.nan).at[1, 0].set(1e6), None, ())


@pytest.mark.parametrize("feature", [None, Squared()])
def test_rows_that_explode_do_not_count(feature):
    teacher = ExternalFlow(decode=exploding)
    options = {"limit": 50.0}
    if feature is not None:
        options |= {"feature": feature, "alpha": 0.5}
        options["feature_variables"] = jnp.asarray(1.0)

    def total(ours, teacher, z, **more):
        return feed_forward.feed_forward(
            function, teacher, ours, THEIRS, z, **options, **more
        )

    grad = jax.value_and_grad(total, has_aux=True)
    (loss, aux), slope = grad(OURS, teacher, Z)
    assert float(aux.terms["rejected"]) == 0.5
    # Half of the rows are left, and the mean is over all of them.
    (expected, _), expected_slope = grad(OURS, TEACHER, (Z[0][2:],))
    assert float(loss) == pytest.approx(float(expected) / 2, rel=1e-5)
    for found, right in zip(
        jax.tree.leaves(slope), jax.tree.leaves(expected_slope), strict=True
    ):
        floats.assert_close(found, right / 2, rtol=1e-5)


def test_the_mean_over_devices_is_that_of_the_whole():
    # Three rows on one device are left out, one on the other: (4, 4) rows.
    x = function(THEIRS, (jnp.concatenate([Z[0], 2.0 * Z[0]]),))
    x = x.at[jnp.asarray([0, 1, 3, 6])].multiply(1e6)
    z = jnp.concatenate([Z[0], 2.0 * Z[0]])

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def total(ours, z, x):
        loss, aux = feed_forward.feed_forward(
            function,
            ExternalFlow(),
            ours,
            None,
            (z,),
            feature=Squared(),
            feature_variables=jnp.asarray(1.0),
            alpha=0.5,
            limit=50.0,
            x=x,
        )
        return loss, aux.terms

    whole = total(OURS, z, x)
    parts = [total(OURS, z[rows], x[rows]) for rows in (slice(4), slice(4, 8))]
    rejected = [float(terms["rejected"]) for (_, terms), _ in parts]
    assert rejected == [0.75, 0.25]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *parts)
    for found, right in zip(jax.tree.leaves(mean), jax.tree.leaves(whole), strict=True):
        floats.assert_close(found, right, rtol=1e-5)


def test_rows_that_explode_are_silence_to_a_feature_of_the_batch():
    small = (spectra.Resolution(32, 8, 24),)
    z = (jnp.asarray(RNG.normal(size=(3, 128, 1)), jnp.float32),)
    x = function(THEIRS, z).at[1, 5, 0].set(jnp.inf)
    _, aux = feed_forward.feed_forward(
        function,
        ExternalFlow(),
        OURS,
        None,
        z,
        feature=feed_forward.StftFeature(small),
        alpha=0.01,
        x=x,
    )
    kept = jnp.asarray([0, 2])
    ours, theirs = function(OURS, z)[kept], function(THEIRS, z)[kept]
    convergence, log_magnitude = spectra.multi_resolution_stft(ours, theirs, small)
    expected = float(convergence + 2 / 3 * log_magnitude)
    assert float(aux.terms["feature"]) == pytest.approx(expected, rel=1e-4)


def test_without_a_limit_only_what_is_not_finite_is_left_out():
    teacher = ExternalFlow(decode=exploding)
    loss, aux = feed_forward.feed_forward(function, teacher, OURS, THEIRS, Z)
    assert float(aux.terms["rejected"]) == 0.25
    assert float(loss) > 1e4


def test_no_row_left():
    def broken(variables, z, cond=None):
        return Decoding(function(variables, z) * jnp.nan, None, ())

    def total(ours):
        return feed_forward.feed_forward(
            function, ExternalFlow(decode=broken), ours, THEIRS, Z
        )

    (loss, aux), slope = jax.value_and_grad(total, has_aux=True)(OURS)
    assert float(loss) == 0
    assert float(aux.terms["rejected"]) == 1
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(slope))


def test_a_student_that_explodes_with_its_teacher_has_a_finite_gradient():
    z = (Z[0].at[0].set(1e4),)

    def cubed(variables, z, cond=None):
        return jnp.exp(variables["scale"] * z[0])

    def teacher(variables, z, cond=None):
        return Decoding(cubed(variables, z), None, ())

    def total(ours):
        return feed_forward.feed_forward(
            cubed, ExternalFlow(decode=teacher), ours, THEIRS, z, limit=100.0
        )[0]

    slope = jax.grad(total)({"scale": jnp.asarray(1.0), "shift": jnp.asarray(0.0)})
    assert np.isfinite(slope["scale"])
    assert float(slope["scale"]) != 0


def test_samples_made_before():
    x = function(THEIRS, Z, COND)
    absent = ExternalFlow()
    made, _ = feed_forward.feed_forward(function, absent, OURS, None, Z, COND, x=x)
    asked, _ = feed_forward.feed_forward(function, TEACHER, OURS, THEIRS, Z, COND)
    assert float(made) == pytest.approx(float(asked), rel=1e-5)


def test_stft_feature():
    small = (spectra.Resolution(32, 8, 24),)
    z = (jnp.asarray(RNG.normal(size=(2, 128, 1)), jnp.float32),)
    loss, aux = feed_forward.feed_forward(
        function,
        TEACHER,
        OURS,
        THEIRS,
        z,
        feature=feed_forward.StftFeature(small),
        alpha=0.01,
    )
    expected = sum(
        spectra.multi_resolution_stft(function(OURS, z), function(THEIRS, z), small)
    )
    assert float(aux.terms["feature"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(loss) == pytest.approx(1.5 + 0.01 * float(expected), rel=1e-5)


def test_lpips_feature_cuts_the_teachers_images():
    x, y = (jnp.asarray(RNG.random((2, 31, 31, 3)), jnp.float32) for _ in range(2))

    @jax.jit
    def both(params):
        found = feed_forward.LpipsFeature("alexnet")(params, x, 2 * y - 0.4)
        cut = jnp.clip(2 * y - 0.4, 0, 1)
        return found, lpips.lpips(params, x, cut, net="alexnet")

    found, expected = both(tiny_params())
    floats.assert_close(found, expected, rtol=1e-5)
    assert found.shape == (2,)
    assert np.all(found > 0)


def test_features_are_hashable():
    assert hash(feed_forward.LpipsFeature()) == hash(feed_forward.LpipsFeature())
    assert feed_forward.StftFeature() == feed_forward.StftFeature()
    assert feed_forward.LpipsFeature().net == "vgg16"


def test_refusals():
    with pytest.raises(ValueError, match="alpha=0.5 without a feature"):
        feed_forward.feed_forward(function, TEACHER, OURS, THEIRS, Z, alpha=0.5)

    def wide(variables, z, cond=None):
        return jnp.concatenate([z[0], z[0]], 1)

    with pytest.raises(ValueError, match=r"\(4, 12\), the teacher \(4, 6\)"):
        feed_forward.feed_forward(wide, TEACHER, OURS, THEIRS, Z)
