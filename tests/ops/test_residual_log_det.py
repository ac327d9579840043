"""log |det (I + J)|: exact, cut off with its bound, and unbiased with its gradient."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import residual_log_det as log_dets

BOUND = 0.7
ROWS = 3


def g(weights, x):
    """A contraction of vectors; the product of its norms is that of its weights."""
    first, second = weights
    return jnp.tanh(x @ first) @ second


def case(dim, dtype: Any = np.float64, rows=ROWS, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, dim))
    weights = [draw.normal(size=shape) for shape in ((dim, 5), (5, dim))]
    norms = [np.linalg.svd(w, compute_uv=False)[0] for w in weights]
    share = math.sqrt(BOUND)
    weights = [share * w / n for w, n in zip(weights, norms, strict=True)]
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), (tuple(weights), x))


def jacobians(weights, x):
    """[rows, dim, dim], by hand."""
    first, second, x = (np.asarray(a, np.float64) for a in (*weights, x))
    slopes = 1 - np.tanh(x @ first) ** 2
    return np.einsum("ho,bh,ih->boi", second, slopes, first)


def expected(weights, x):
    return np.linalg.slogdet(np.eye(x.shape[1]) + jacobians(weights, x))[1]


def trace_series(weights, x, terms):
    """The first terms of the power series, by powers of matrices."""
    J = jacobians(weights, x)
    traces = [
        np.trace(np.linalg.matrix_power(J, k), axis1=1, axis2=2)
        for k in range(1, terms + 1)
    ]
    return sum((-1) ** k * trace / (k + 1) for k, trace in enumerate(traces))


@pytest.mark.parametrize(
    "dim", [1, *(pytest.param(d, marks=pytest.mark.slow) for d in (2, 3)), 7]
)
def test_exact_and_series_in_float64(dim, x64):
    for rows in (1, ROWS):
        weights, x = case(dim, rows=rows)
        wanted = np.asarray(expected(weights, x))
        assert np.abs(wanted).max() > 1e-2
        found = log_dets.exact(g, weights, x)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
        vectors = log_dets.probes(dim, (dim,))
        found = log_dets.series(g, weights, x, 8, vectors)
        wanted = trace_series(weights, x, 8)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_exact_in_float32():
    weights, x = case(7, np.float32)
    found = log_dets.exact(g, weights, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(weights, x), rtol=0, atol=1e-6)


def test_series_converges_as_the_bound_says(x64):
    weights, x = case(7)
    wanted = expected(weights, x)
    vectors = log_dets.probes(7, (7,))
    ran = jax.jit(log_dets.series, static_argnums=(0, 3))
    errors = []
    for terms in (1, 2, 4, 8, 16):
        error = np.abs(ran(g, weights, x, terms, vectors) - wanted).max()
        assert error <= log_dets.rest(7, BOUND, terms)
        errors.append(error)
    assert errors[-1] < 1e-4 < 0.02 < errors[0]


def test_the_bound_is_met_by_a_map_that_shrinks_all_alike():
    for terms in (1, 5):
        k = np.arange(1, terms + 1)
        # J = -c I, the worst of all.
        series = -3 * np.sum(BOUND**k / k)
        left = abs(3 * math.log(1 - BOUND) - series)
        np.testing.assert_allclose(log_dets.rest(3, BOUND, terms), left, atol=1e-12)


@pytest.mark.parametrize("count", [1, 4, 6, 9])
def test_probes(count):
    found = log_dets.probes(count, (3, 2)).reshape(-1, 6)
    if count < 6:
        np.testing.assert_array_equal(np.abs(found), np.ones((count, 6)))
        np.testing.assert_array_equal(
            found, log_dets.probes(count, (3, 2)).reshape(-1, 6)
        )
    else:
        np.testing.assert_allclose(found.T @ found / 6, np.eye(6), atol=1e-6)


def test_chance_keeps_the_variance_finite():
    for bound in (0.3, 0.9, 0.98):
        assert bound**2 < log_dets.survival(bound) < 1
    assert log_dets.expected(2, 0.75) == 5


KEYS = 4000


@pytest.fixture(scope="module")
def estimates():
    """Estimates and their gradients over many keys, and the exact ones."""
    with jax.enable_x64(True):
        weights, x = case(3, seed=4)

        def estimate(key, weights, x):
            found = log_dets.estimate(key, g, weights, x, 1, 0.75)
            return jnp.sum(found * jnp.arange(1, ROWS + 1)), found

        def exactly(weights, x):
            found = log_dets.exact(g, weights, x)
            return jnp.sum(found * jnp.arange(1, ROWS + 1)), found

        both = jax.value_and_grad(estimate, argnums=(1, 2), has_aux=True)
        keys = jax.random.split(jax.random.key(0), KEYS)
        found = jax.jit(jax.vmap(lambda key: both(key, weights, x)))(keys)
        wanted = jax.value_and_grad(exactly, argnums=(0, 1), has_aux=True)(weights, x)
        return jax.device_get((found, wanted))


def test_the_estimate_is_unbiased_and_so_is_its_gradient(estimates):
    ((_, found), gradient), ((_, wanted), slope) = estimates
    every, means = map(jax.tree.leaves, ((found, gradient), (wanted, slope)))
    for drawn, mean in zip(every, means, strict=True):
        error = drawn.std(axis=0) / math.sqrt(KEYS)
        away = np.abs(drawn.mean(axis=0) - mean)
        # The largest of some thirty normal deviates.
        assert np.all(away < 4.5 * error + 1e-12), away / error
        assert np.all(error < 0.05)
    # The bias of a series cut off where the estimate may be would show.
    cut = trace_series(*case(3, np.float32, seed=4), 1)
    error = found.std(axis=0) / math.sqrt(KEYS)
    assert np.any(np.abs(wanted - cut) > 10 * error)


def test_rows_have_vectors_of_their_own_and_a_key_gives_one_answer():
    weights, x = case(3, np.float32)
    same = jnp.broadcast_to(x[:1], x.shape)
    estimate = functools.partial(log_dets.estimate, sure=2, chance=0.5)
    run = jax.jit(lambda key, x: estimate(key, g, weights, x))
    one = run(jax.random.key(1), same)
    np.testing.assert_array_equal(one, run(jax.random.key(1), same))
    assert len({*map(float, one)}) > 1
    assert np.any(one != run(jax.random.key(2), same))
