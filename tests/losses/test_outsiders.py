"""Losses called with teachers that this package did not build."""

import distrax
import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flowjax import bijections, distributions, flows

from fdnf import types
from fdnf.flows.maf import MAF
from fdnf.losses import distillation

DIM = 3
X = jnp.asarray(np.random.default_rng(0).normal(size=(32, DIM)), jnp.float32)
Z = jnp.asarray(np.random.default_rng(1).normal(size=(32, DIM)), jnp.float32)
STUDENT = MAF(unroll=1, steps=2, hidden=(8,))


def flowjax_teacher():
    """(flow, variables): arrays apart from what is static, as equinox has it."""
    made = flows.masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=distributions.Normal(jnp.zeros(DIM)),
        transformer=bijections.Affine(),
        flow_layers=2,
        nn_width=8,
    )
    arrays, static = equinox.partition(made, equinox.is_inexact_array)
    keys = iter(jax.random.split(jax.random.key(1), 100))
    arrays = jax.tree.map(
        lambda leaf: leaf + 0.2 * jax.random.normal(next(keys), leaf.shape), arrays
    )

    # flowjax, as distrax, takes forward to be the way from the base to the data.
    def encode(variables, x, cond=None):
        del cond
        flow = equinox.combine(variables, static)
        z, log_det = jax.vmap(flow.bijection.inverse_and_log_det)(x)
        return types.Encoding((z,), log_det, (z,), flow.base_dist.log_prob(z))

    def decode(variables, z, cond=None):
        del cond
        flow = equinox.combine(variables, static)
        x, log_det = jax.vmap(flow.bijection.transform_and_log_det)(z[0])
        return types.Decoding(x, log_det, (z[0],))

    return types.ExternalFlow(encode, decode), arrays


def distrax_teacher():
    """(flow, variables): a chain of two affine maps of distrax."""
    variables = {
        "scale": jnp.asarray([1.5, 0.7, 1.2]),
        "matrix": jnp.asarray([[1.0, 0.0, 0.0], [0.4, 1.0, 0.0], [-0.3, 0.2, 1.0]]),
    }

    def distribution(variables):
        chain = distrax.Chain(
            [
                distrax.LowerUpperTriangularAffine(
                    variables["matrix"], jnp.full(DIM, 0.5)
                ),
                distrax.Block(distrax.ScalarAffine(0.0, variables["scale"]), 1),
            ]
        )
        return distrax.Transformed(
            distrax.MultivariateNormalDiag(jnp.zeros(DIM)), chain
        )

    def encode(variables, x, cond=None):
        del cond
        flow = distribution(variables)
        z, log_det = flow.bijector.inverse_and_log_det(x)
        return types.Encoding((z,), log_det, (z,), flow.distribution.log_prob(z))

    def decode(variables, z, cond=None):
        del cond
        x, log_det = distribution(variables).bijector.forward_and_log_det(z[0])
        return types.Decoding(x, log_det, (z[0],))

    return types.ExternalFlow(encode, decode), variables


TEACHERS = {"flowjax": flowjax_teacher, "distrax": distrax_teacher}


@pytest.fixture(scope="module", params=TEACHERS)
def teacher(request):
    return TEACHERS[request.param]()


@pytest.fixture(scope="module")
def student_variables():
    return jax.jit(STUDENT.init)(jax.random.key(2), X)


def test_the_wrapped_teacher_is_a_flow(teacher):
    flow, variables = teacher
    assert isinstance(flow, types.Flow)
    hash(flow)

    @jax.jit
    def there_and_back():
        encoding = flow.apply(variables, X, method="encode")
        return encoding, flow.apply(variables, encoding.z, method="decode")

    encoding, decoding = there_and_back()
    np.testing.assert_allclose(decoding.x, X, atol=1e-4)
    np.testing.assert_allclose(decoding.log_det, -encoding.log_det, atol=1e-4)


@pytest.mark.parametrize("name", ["lkd", "skd"])
def test_adam_steps_bring_the_student_closer(name, teacher, student_variables):
    """By gradients that do not reach the teacher."""
    flow, variables = teacher
    loss = getattr(distillation, name)
    argument = X if name == "lkd" else (Z,)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(student, state):
        gradient = jax.value_and_grad(loss, argnums=(2, 3), has_aux=True)
        (value, _), slopes = gradient(STUDENT, flow, student, variables, argument)
        updates, state = optimizer.update(slopes[0], state)
        return optax.apply_updates(student, updates), state, value, slopes

    student, state = student_variables, optimizer.init(student_variables)
    values = []
    for _ in range(30):
        student, state, value, (slope, of_teacher) = step(student, state)
        values.append(float(value))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(of_teacher))
    assert values[-1] < 0.8 * values[0]


def test_a_flow_without_the_direction_says_so():
    flow = types.ExternalFlow(encode=lambda variables, x, cond=None: None)
    with pytest.raises(ValueError, match=r"ExternalFlow\(decode=function\)"):
        flow.apply({}, (Z,), method="decode")
