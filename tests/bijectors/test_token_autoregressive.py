"""The autoregressive map of tokens: its inverses, their reports, and its start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors import transformers
from fdnf.bijectors.combinators import Invert
from fdnf.bijectors.token_autoregressive import TokenAutoregressive
from fdnf.nets.causal_transformer import CausalTransformer
from tests import floats, laws

EVENT, TOKENS = (4, 6, 1), 6


def bijector(layers=1, **settings):
    net = CausalTransformer(layers, channels=8, heads=2)
    return TokenAutoregressive(net, patch=2, **{"tolerance": 1e-13, **settings})


CASE = laws.Case("tokens", bijector(), EVENT, 2, noise=1.0, start=False)


@functools.cache
def given():
    """Variables, noise and its condition, in float64."""
    return laws.cast((CASE.variables, CASE.data(), CASE.cond()), np.float64)


def report(module, variables, y, cond, start=None):
    return _reported(module, variables, y, cond, start)


@functools.partial(jax.jit, static_argnums=0)
def _reported(module, variables, y, cond, start):
    return module.apply(variables, y, cond, start, method="inverse_with_report")


@functools.cache
def exact():
    return report(CASE.module, *given())


# The last one does not divide the tokens; in CI gradients, below, have its solution.
@pytest.mark.parametrize(
    "segment",
    [None, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))],
    ids=str,
)
@pytest.mark.usefixtures("x64")
def test_iteration_of_segments_is_the_exact_inverse(segment):
    module, (variables, y, cond) = bijector(segment=segment), given()
    x, log_det, told = exact()
    assert np.std(x - y) > 0.1
    np.testing.assert_array_equal(told.iterations, 0)
    found = report(module.clone(method="jacobi"), variables, y, cond)
    np.testing.assert_allclose(found[0], x, atol=1e-10)
    np.testing.assert_allclose(found[1], log_det, atol=1e-10)
    most = TOKENS if segment is None else segment * -(-TOKENS // segment)
    assert found[2].iterations.shape == (1, laws.BATCH)
    assert found[2].iterations.max() <= most
    # From a bad start, and from one next to the solution.
    far = report(module, variables, y, cond, jnp.full_like(y, 9.0).at[0, 0].set(np.nan))
    np.testing.assert_allclose(far[0], x, atol=1e-10)
    loose = module.clone(tolerance=1e-3)
    rounds = [
        report(loose, variables, y, cond, start)[2].iterations
        for start in (jnp.zeros_like(y), x + 1e-5, x)
    ]
    assert np.all(rounds[2] == 0)
    assert np.all(rounds[1] < rounds[0]) or segment == 1


@pytest.mark.usefixtures("x64")
def test_the_residual_is_that_of_the_result():
    module, (variables, y, cond) = bijector(segment=4, tolerance=0.3), given()
    x, _, told = report(module.clone(method="jacobi"), variables, y, cond)
    again, _ = module.apply(variables, x, cond, method="forward")
    gap = np.abs(again - y).max(axis=(1, 2, 3))
    np.testing.assert_allclose(told.residual[0], gap, atol=1e-12)
    assert 1e-3 < gap.max() <= 0.3


@pytest.mark.usefixtures("x64")
def test_the_inverse_token_by_token_is_that_of_whole_passes():
    module, (variables, y, cond) = bijector(method="naive"), given()
    naive = report(module, variables, y, cond)
    np.testing.assert_allclose(exact()[0], naive[0], atol=1e-10)
    np.testing.assert_allclose(exact()[1], naive[1], atol=1e-10)
    single = laws.cast(given(), np.float32)
    with jax.enable_x64(False):
        np.testing.assert_allclose(report(CASE.module, *single)[0], naive[0], atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_gradients_are_those_of_whole_passes():
    def gradients(module, **start):
        def loss(variables, y, cond):
            x, log_det, _ = module.apply(
                variables, y, cond, method="inverse_with_report", **start
            )
            return jnp.sum(jnp.sin(x)) + jnp.sum(log_det**2)

        return jax.jit(jax.grad(loss, (0, 1, 2)))(*given())

    expected = gradients(bijector(method="naive"))
    for found in (
        gradients(bijector()),
        gradients(bijector(segment=4), start=exact()[0]),
    ):
        laws.assert_close(expected, found, 1e-9, "gradients")


@pytest.mark.parametrize(
    ("event", "turned"),
    [
        ((4, 4, 2), False),
        pytest.param((4, 4, 2), True, marks=pytest.mark.slow),
        pytest.param((8,), False, marks=pytest.mark.slow),
        ((8,), True),
    ],
    ids=str,
)
def test_a_new_map_standardises_its_batch(event, turned):
    draw = np.random.default_rng(0).normal(size=(64, *event))
    x = jnp.asarray(3.0 * draw - 2.0, jnp.float32)
    module = bijector()
    module = Invert(module) if turned else module
    (z, _), _ = jax.jit(module.init_with_output)(jax.random.key(0), x)
    assert abs(np.mean(z)) < 1e-3
    assert abs(np.std(z) - 1) < 1e-3


def test_log_scales_are_bounded():
    module = bijector(transformer=transformers.Affine(0.5))
    x, cond = CASE.data(), CASE.cond()
    params = dict(CASE.variables["params"]["net"])
    bias = params["last_bias"].at[4:].set(-1e4)
    variables = {"params": {"net": {**params, "last_bias": bias}}}
    _, log_det = jax.jit(module.apply)(variables, x, cond)
    floats.assert_close(log_det, 24 * 0.5, rtol=1e-5)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="unknown method 'fast'; known: "):
        bijector(method="fast")
    with pytest.raises(ValueError, match="segment=0: expected at least 1 token"):
        bijector(segment=0)
