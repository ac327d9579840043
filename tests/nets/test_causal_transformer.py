"""The causal transformer by its equation, whole and a few tokens at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets import causal_transformer
from fdnf.nets.causal_transformer import CausalTransformer
from tests import laws

TOKENS, WIDTH, OUTPUTS, FEATURES = 7, 2, 3, 2
NET = CausalTransformer(layers=2, channels=6, heads=2)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, COND = draw(2, TOKENS, WIDTH), draw(2, FEATURES, seed=1)


@functools.cache
def made():
    def init(x, cond):
        return NET.init(jax.random.key(0), x, OUTPUTS, cond)

    shapes = jax.eval_shape(init, X, COND)
    with jax.ensure_compile_time_eval():  # Within a program as well.
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return laws.perturb(zeros, 1.0)


def weights(x=X, cond=COND):
    return NET.apply(laws.cast(made(), x.dtype), x, OUTPUTS, cond, method="weights")


def normed(p, name, h):
    h = h - h.mean(-1, keepdims=True)
    h = h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-6)
    return h * p[f"{name}_scale"] + p[f"{name}_bias"]


def test_is_its_equation():
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), made()["params"])

    def dense(name, h):
        return h @ p[f"{name}_kernel"] + p[f"{name}_bias"]

    before = np.concatenate([np.zeros((2, 1, WIDTH)), X[:, :-1]], axis=1)
    context = np.asarray(COND) @ p["context_kernel"]
    h = before @ p["first_kernel"] + p["positions"] + context[:, None]
    for i in range(2):
        joint = dense(f"attention_{i}", normed(p, f"attention_{i}_norm", h))
        parts = []
        for head in range(2):
            at = [slice(6 * j + 3 * head, 6 * j + 3 * head + 3) for j in range(3)]
            q, k, v = (joint[..., each] for each in at)
            scores = np.einsum("btc,bsc->bts", q, k) / np.sqrt(3)
            scores = np.exp(np.where(np.tri(TOKENS) > 0, scores, -np.inf))
            parts.append(scores / scores.sum(-1, keepdims=True) @ v)
        h = h + dense(f"attended_{i}", np.concatenate(parts, -1))
        units = np.asarray(
            jax.nn.gelu(dense(f"hidden_{i}", normed(p, f"mlp_{i}_norm", h)))
        )
        h = h + dense(f"added_{i}", units)
    expected = dense("last", normed(p, "last_norm", h))
    found = jax.jit(NET.apply, static_argnums=2)(made(), X, OUTPUTS, COND)
    assert np.std(found) > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_an_output_sees_the_tokens_before_it():
    """All of them, and nothing else of its own row or of others."""
    jacobian = jax.jit(
        jax.jacfwd(lambda x: causal_transformer.evaluate(2, weights(x), x))
    )(X)
    seen = np.abs(jacobian).max(axis=(2, 5))
    for row in range(2):
        assert np.triu(seen[row, :, row]).max() == 0
        assert seen[row, :, row][np.tril_indices(TOKENS, -1)].min() > 0
        assert seen[row, :, 1 - row].max() == 0


@pytest.mark.usefixtures("x64")
def test_a_few_at_a_time_are_the_whole():
    """Token by token, and in segments, from a cache."""
    x, cond = laws.cast((X, COND), np.float64)

    @jax.jit
    def run(x, cond):
        known = weights(x, cond)

        def choose(outputs, noise):
            return jnp.tanh(outputs[:, :WIDTH]) + noise

        made = causal_transformer.generate(2, known, x, choose)
        whole = causal_transformer.evaluate(2, known, made)
        again = jnp.tanh(whole[..., :WIDTH]) + x
        cache = causal_transformer.empty(2, known, 2, x.dtype)
        parts, before = [], causal_transformer.shifted(made)
        for first, end in ((0, 3), (3, 4), (4, TOKENS)):
            outputs, cache = causal_transformer.advance(
                2, known, cache, first, before[:, first:end]
            )
            parts.append(outputs)
        return made, again, whole, jnp.concatenate(parts, axis=1)

    made, again, whole, parts = run(x, cond)
    np.testing.assert_allclose(made, again, atol=1e-12)
    np.testing.assert_allclose(parts, whole, atol=1e-12)


def test_a_new_network_says_its_bias():
    def bias(outputs):
        assert outputs.shape == (2, TOKENS, OUTPUTS)
        return jnp.arange(OUTPUTS, dtype=float)

    def init(x):
        known = NET.init(jax.random.key(0), x, OUTPUTS, None, bias, method="weights")
        return NET.apply(known, x, OUTPUTS)

    np.testing.assert_allclose(jax.jit(init)(X)[1, 2], np.arange(OUTPUTS), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"layers": 0}, {"channels": 0}])
def test_wrong_sizes(wrong):
    with pytest.raises(ValueError, match="at least 1 of each, and heads that divide"):
        CausalTransformer(**{"channels": 8, **wrong})


def test_a_condition_is_a_vector():
    with pytest.raises(ValueError, match=r"expected one vector a row, \[batch, feat"):
        jax.eval_shape(lambda: NET.init(jax.random.key(0), X, OUTPUTS, X))
