"""Reverse KL: closed forms, gradients, the slope of log q."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdnf import types
from fdnf.flows.affine import Affine
from fdnf.flows.glow import TabularGlow
from fdnf.flows.maf import IAF, MAF
from fdnf.losses import density
from tests import floats, laws
from tests.losses import affine

S = affine.variables([0.5, -1.0], [2.0, 0.5])
T = affine.variables([-0.25, 0.5], [1.5, 1.25])
FLOW = affine.flow()
# What each side may be asked for, and nothing else.
SAMPLER = types.ExternalFlow(decode=FLOW.decode)
JUDGE = types.ExternalFlow(encode=FLOW.encode)
GRID = (affine.normal_grid(),)
STUDENT = laws.Case("student", IAF(unroll=1, steps=2, hidden=(8,)), noise=0.3)
TEACHER = laws.Case("teacher", MAF(unroll=1, steps=2, hidden=(8,)), noise=0.3)
GLOW = laws.Case("glow", TabularGlow(unroll=1, steps=2, hidden=8, depth=1), noise=0.2)
Z = (jax.random.normal(jax.random.key(0), (64, 4)),)
paths = pytest.mark.parametrize("path", [False, True])


@functools.cache
def gradient(path):
    """Value and gradients, of the student and of the teacher, compiled."""
    loss = functools.partial(density.reverse_kl, path=path)
    both = jax.value_and_grad(loss, argnums=(2, 3), has_aux=True)
    return jax.jit(both, static_argnums=(0, 1))


def kl(student, teacher):
    """KL of two diagonal Gaussians (student || teacher), in nats."""
    m1, s1 = student["mean"], student["std"]
    m2, s2 = teacher["mean"], teacher["std"]
    gap = (s1**2 + (m1 - m2) ** 2) / (2 * s2**2)
    return jnp.sum(jnp.log(s2) - jnp.log(s1) + gap - 0.5)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def gradient_of(case, path):
    """(value, aux), gradient as a vector; of a case's student and the MAF teacher."""
    found, (slope, _) = gradient(path)(
        case.module, TEACHER.module, case.variables, TEACHER.variables, Z
    )
    return found, flat(slope)


@paths
def test_gaussians_against_the_closed_form(path):
    # Neither flow has the direction that it must not be asked for.
    loss, aux = density.reverse_kl(SAMPLER, JUDGE, S, T, GRID, path=path)
    assert loss == pytest.approx(float(kl(S, T)), rel=2e-3)
    entropy = np.sum(np.log(S["std"]) + 0.5 * math.log(2 * math.pi * math.e))
    assert aux.terms["entropy"] == pytest.approx(entropy, rel=2e-3)
    terms = aux.terms
    # The difference is rounded as its terms are.
    size = max(abs(terms["cross_entropy"]), abs(terms["entropy"]))
    gap = terms["cross_entropy"] - terms["entropy"]
    assert terms["kl"] == pytest.approx(float(gap), abs=1e-5 * float(size))
    assert aux.per_level == ()
    # log q - log p_T is a quadratic in z: its variance is known too.
    slope = np.asarray(S["std"] / T["std"])
    offset = np.asarray((S["mean"] - T["mean"]) / T["std"])
    expected = np.sum((slope**2 - 1) ** 2 / 2 + (slope * offset) ** 2)
    assert aux.terms["variance"] == pytest.approx(expected, rel=2e-2)


@paths
def test_gradient_of_gaussians_against_the_closed_form(path):
    _, (slope, _) = gradient(path)(SAMPLER, JUDGE, S, T, GRID)
    expected = jax.jit(jax.grad(kl))(S, T)
    for name in ("mean", "std"):
        np.testing.assert_allclose(slope[name], expected[name], rtol=5e-3, atol=5e-3)


def test_within_the_monte_carlo_error_of_plain_draws():
    rows = 4096
    z = (jax.random.normal(jax.random.key(5), (rows, 2)),)
    loss, aux = density.reverse_kl(SAMPLER, JUDGE, S, T, z)
    error = math.sqrt(aux.terms["variance"] / rows)
    assert 0 < error < 0.05
    assert abs(loss - kl(S, T)) < 3 * error


@pytest.mark.parametrize(
    "case",
    [GLOW, pytest.param(TEACHER, marks=pytest.mark.slow)],
    ids=lambda case: case.name,
)
def test_path_gradient_is_zero_row_by_row_where_student_is_teacher(case):
    # Each row alone, away from any cancellation between rows.
    z = tuple(part[:1] for part in Z)
    arguments = (case.module, case.module, case.variables, case.variables, z)
    slopes = {}
    for path in (False, True):
        (value, aux), (slope, _) = gradient(path)(*arguments)
        assert value == pytest.approx(0.0, abs=1e-4)
        assert aux.terms["variance"] == pytest.approx(0.0, abs=1e-6)
        slopes[path] = np.abs(flat(slope)).max()
    assert slopes[True] < 1e-4
    assert slopes[False] > 0.1


def test_path_gradient_is_that_of_log_q_with_its_variables_held_fixed():
    # As Roeder et al. write it, by the inverse that the loss does without.
    def written_out(variables):
        drawn = STUDENT.module.apply(variables, *(Z,), method="decode")
        held = jax.lax.stop_gradient(variables)
        log_q = STUDENT.module.apply(held, drawn.x, method="log_prob")
        log_p = TEACHER.module.apply(TEACHER.variables, drawn.x, method="log_prob")
        return jnp.mean(log_q - log_p)

    (value, _), slope = gradient_of(STUDENT, path=True)
    expected, reference = jax.jit(jax.value_and_grad(written_out))(STUDENT.variables)
    assert value == pytest.approx(float(expected), abs=1e-5)
    np.testing.assert_allclose(slope, flat(reference), rtol=1e-3, atol=1e-5)


def test_path_gradient_has_the_same_mean_and_less_noise_near_the_teacher():
    near = {k: 0.98 * v for k, v in T.items()}
    z = jax.random.normal(jax.random.key(7), (2000, 1, 2))

    def rows(path):
        loss = functools.partial(density.reverse_kl, path=path)
        slope = jax.grad(loss, argnums=2, has_aux=True)
        one = jax.jit(jax.vmap(lambda z: slope(SAMPLER, JUDGE, near, T, (z,))[0]))
        return np.concatenate([leaf for leaf in one(z).values()], axis=1)

    plain, path = rows(False), rows(True)
    error = np.sqrt((plain.var(0) + path.var(0)) / len(z))
    assert np.all(np.abs(plain.mean(0) - path.mean(0)) < 4 * error)
    assert path.var(0).sum() < 0.05 * plain.var(0).sum()


@pytest.mark.parametrize(
    ("case", "path"),
    [
        pytest.param(STUDENT, False, id="student"),
        pytest.param(STUDENT, True, id="student-path"),
        pytest.param(GLOW, True, id="glow-path"),
        pytest.param(GLOW, False, id="glow", marks=pytest.mark.slow),
    ],
)
def test_gradients_reach_the_student_and_never_the_teacher(case, path):
    (value, aux), (student, teacher) = gradient(path)(
        case.module, TEACHER.module, case.variables, TEACHER.variables, Z
    )
    assert value.dtype == jnp.float32
    assert value.shape == ()
    assert isinstance(aux, types.Aux)
    assert np.all(flat(teacher) == 0)
    assert np.all(np.isfinite(flat(student)))
    moved = [np.any(leaf != 0) for leaf in jax.tree.leaves(student["params"])]
    assert np.mean(moved) > 0.9


def test_the_teachers_slope_reaches_the_student():
    # Without it, what is left is the gradient of the student's entropy alone.
    @jax.jit
    @jax.grad
    def entropy(variables):
        decoding = STUDENT.module.apply(variables, Z, method="decode")
        return jnp.mean(-decoding.log_det)

    _, slope = gradient_of(STUDENT, path=False)
    assert np.abs(slope - flat(entropy(STUDENT.variables))).max() > 0.1


def test_several_latents_and_another_prior():
    # The affine flow with its latent in two parts, under a prior of scale 2.
    def decode(variables, z, cond=None):
        return FLOW.decode(variables, (jnp.concatenate(z, axis=1),), cond)

    def log_prior(z):
        whole = jnp.concatenate(z, axis=1)
        return jnp.sum(jax.scipy.stats.norm.logpdf(whole, scale=2.0), axis=1)

    (grid,) = GRID
    z = (2 * grid[:, :1], 2 * grid[:, 1:])
    student = types.ExternalFlow(decode=decode)
    wider = {**S, "std": 2 * S["std"]}
    for path in (False, True):
        loss = functools.partial(density.reverse_kl, path=path, log_prior=log_prior)
        (value, _), slope = jax.value_and_grad(loss, argnums=2, has_aux=True)(
            student, JUDGE, S, T, z
        )
        assert value == pytest.approx(float(kl(wider, T)), rel=2e-3)
        expected = jax.grad(kl)(wider, T)
        floats.assert_close(slope["std"], 2 * expected["std"], rtol=5e-3)


def test_conditions_reach_both_flows():
    def shifted(case):
        def encode(variables, x, cond):
            return FLOW.encode(variables, x - cond)

        def decode(variables, z, cond):
            found = FLOW.decode(variables, z)
            return found._replace(x=found.x + cond)

        return types.ExternalFlow(encode, decode) if case else FLOW

    cond = jnp.full_like(GRID[0], 3.0)
    loss, _ = density.reverse_kl(shifted(True), shifted(True), S, T, GRID, cond)
    assert loss == pytest.approx(float(kl(S, T)), rel=2e-3)


# In CI the gradients are held against closed forms, and `test_fitting` trains by them.
@pytest.mark.slow
@paths
def test_falls_in_fifty_steps_of_an_iaf_in_two_dimensions(path):
    student = laws.Case("student", IAF(unroll=1, steps=2, hidden=(8,)), (2,))
    teacher = laws.Case("teacher", MAF(unroll=1, steps=2, hidden=(8,)), (2,))
    optimizer = optax.adam(2e-2)
    slopes = jax.value_and_grad(
        functools.partial(density.reverse_kl, path=path), argnums=2, has_aux=True
    )

    @jax.jit
    def train(variables):
        def step(carry, key):
            variables, state = carry
            z = (jax.random.normal(key, (64, 2)),)
            (value, _), slope = slopes(
                student.module, teacher.module, variables, teacher.variables, z
            )
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(variables, updates), state), value

        keys = jax.random.split(jax.random.key(1), 50)
        return jax.lax.scan(step, (variables, optimizer.init(variables)), keys)[1]

    values = train(student.variables)
    assert np.all(np.isfinite(values))
    assert values[-10:].mean() < 0.5 * values[:5].mean()


IAF_CASE = laws.Case("iaf", IAF(unroll=1, steps=2, hidden=(8,)), noise=0.3)
AFFINE = laws.Case("affine", Affine(), (3,), noise=0.2)


def slope_at(case, z):
    @jax.jit
    def run(variables, z):
        return density.density_slope(
            case.module, variables, z, None, density.standard_normal
        )

    return run(case.variables, z)


def test_equals_the_gradient_of_log_prob_at_the_sample():
    for case in (IAF_CASE, AFFINE):
        z = (jax.random.normal(jax.random.key(0), (16, *case.event)),)

        @jax.jit
        def expected(z, case=case):
            def log_q(x):
                return jnp.sum(case.module.apply(case.variables, x, method="log_prob"))

            return jax.grad(log_q)(
                case.module.apply(case.variables, z, method="decode").x
            )

        np.testing.assert_allclose(slope_at(case, z), expected(z), rtol=2e-3, atol=2e-4)


def test_of_a_gaussian_is_minus_r_to_the_minus_t_times_z():
    z = jax.random.normal(jax.random.key(1), (16, 3))
    R = np.asarray(AFFINE.variables["params"]["R"])
    expected = -np.asarray(z) @ np.linalg.inv(R)
    np.testing.assert_allclose(slope_at(AFFINE, (z,)), expected, atol=1e-4)


def test_no_gradient_flows_through_it():
    z = (jax.random.normal(jax.random.key(2), (4, 3)),)

    def total(variables, z):
        found = density.density_slope(
            AFFINE.module, variables, z, None, density.standard_normal
        )
        return jnp.sum(found)

    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(AFFINE.variables, z)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(slopes))


def test_latents_in_parts_are_one_vector():
    parts = (jnp.ones((2, 2, 2)), jnp.zeros((2, 3)))
    expected = np.array([[1, 1, 1, 1, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(density.flat(parts), expected)
