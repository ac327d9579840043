"""The MADE inverse: round trips, methods and gradients against the pass loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core as extend_core

from fdnf.ops import autoregressive_inverse, conditioners
from tests import floats

SOLVERS = ("exact", "blocked", "jacobi")


def soft_clamp(raw):
    return 5 * jnp.tanh(raw / 5)


invert = functools.partial(
    autoregressive_inverse.invert, activation=jnp.tanh, log_scale=soft_clamp
)
evaluate = functools.partial(
    autoregressive_inverse.shift_and_log_scale,
    activation=jnp.tanh,
    log_scale=soft_clamp,
)


def made(dim, hidden, *, batch=None, lowest=1, seed=0, dtype=np.float32):
    """Masked layers whose map is far from the identity."""
    draw = np.random.default_rng(seed).normal
    *inner, last = conditioners.made_masks(dim, hidden, lowest=lowest)
    layers = []
    for index, mask in enumerate([*inner, np.tile(last, (1, 2))]):
        fan = np.maximum(mask.sum(0), 1)
        kernel = 1.5 * mask * draw(size=mask.shape) / np.sqrt(fan)
        rows = () if batch is None or index else (batch,)
        bias = 0.5 * draw(size=(*rows, mask.shape[1]))
        layers.append((jnp.asarray(kernel, dtype), jnp.asarray(bias, dtype)))
    return tuple(layers)


def mask(layers):
    """Masks once more: the gradient of a masked weight means nothing and is dropped."""
    dim, *hidden = (kernel.shape[0] for kernel, _ in layers)
    *inner, last = conditioners.made_masks(dim, tuple(hidden))
    patterns = [*inner, np.tile(last, (1, 2))]
    return tuple(
        (kernel * jnp.asarray(pattern, kernel.dtype), bias)
        for (kernel, bias), pattern in zip(layers, patterns, strict=True)
    )


def latent(batch, dim, dtype=np.float32, seed=9):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(batch, dim)), dtype)


def relative(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-9)


SHAPES = [
    (1, (4,), 3),
    (5, (3,), 4),
    (6, (16, 13), 11),
    (13, (8, 9, 7), 1),
]


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize(("dim", "hidden", "batch"), SHAPES)
def test_round_trip_and_oracle_in_float64(method, dim, hidden, batch):
    with jax.enable_x64(True):
        layers = made(dim, hidden, dtype=np.float64)
        z = latent(batch, dim, np.float64)

        @jax.jit
        def both(layers, z):
            # 4 divides neither the batch nor dim: chunks are padded, blocks overlap.
            options = dict(method=method, block=4, chunk=4, tol=1e-13)
            found = invert(layers, z, **options)
            shift, a = evaluate(layers, found.x)
            oracle = invert(layers, z, method="passes")
            return found, oracle, a, (found.x - shift) * jnp.exp(-a)

        found, oracle, a, back = jax.device_get(both(layers, z))
        assert found.x.dtype == np.float64
        assert np.abs(back - z).max() < 1e-9
        assert found.residual.max() < 1e-9
        np.testing.assert_allclose(found.x, oracle.x, rtol=1e-9, atol=1e-9)
        floats.assert_close(found.log_scale, a, rtol=1e-12)
        if dim > 2:
            assert np.abs(found.x - z).mean() > 0.3


@pytest.mark.parametrize("method", ["auto", "blocked", "jacobi"])
def test_round_trip_in_float32(method):
    layers, z = made(20, (32, 32)), latent(70, 20)
    run = jax.jit(lambda *at: invert(*at, method=method, chunk=32))
    found = jax.device_get(run(layers, z))
    assert found.x.dtype == np.float32
    assert found.residual.max() < 1e-4
    assert np.abs(found.x - z).max() > 1


def test_log_scale_is_the_log_det_of_the_inverse():
    with jax.enable_x64(True):
        layers, z = made(5, (12, 12), dtype=np.float64), latent(1, 5, np.float64)
        jacobian = jax.jit(jax.jacrev(lambda z: invert(layers, z).x))(z)
        _, log_det = np.linalg.slogdet(np.asarray(jacobian)[0, :, 0])
        found = jax.jit(invert)(layers, z)
        floats.assert_close(np.asarray(found.log_scale).sum(), log_det, rtol=1e-9)


@pytest.mark.parametrize("method", ["blocked", "jacobi"])
@pytest.mark.parametrize("tol", [0.0, 1e-2])
def test_tolerance_is_met_and_zero_runs_to_the_exact_cap(method, tol):
    layers, z = made(12, (24, 24)), latent(9, 12)

    @jax.jit
    def error(layers, z):
        x = invert(layers, z, method=method, block=5, tol=tol).x
        oracle = invert(layers, z, method="passes").x
        return jnp.max(jnp.abs(x - oracle) / (1 + jnp.abs(oracle)))

    assert error(layers, z) < max(20 * tol, 1e-4)


def loss(method, layers, z):
    found = invert(mask(layers), z, method=method, block=3, chunk=4, tol=1e-12)
    return jnp.sum(jnp.sin(found.x)) + 0.3 * jnp.sum(found.log_scale**2)


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize(
    ("dtype", "bound", "conditional"),
    [(np.float32, 1e-4, False), (np.float64, 1e-8, True)],
)
def test_gradients_equal_autodiff_through_the_passes(method, dtype, bound, conditional):
    with jax.enable_x64(dtype == np.float64):
        batch, dim = 10, 7
        layers = made(dim, (11, 10), batch=batch if conditional else None, dtype=dtype)
        z = latent(batch, dim, dtype)
        grads = jax.jit(jax.grad(functools.partial(loss, method), (0, 1)))
        oracle = jax.jit(jax.grad(functools.partial(loss, "passes"), (0, 1)))
        expected = oracle(layers, z)
        for got, want in zip(
            jax.tree.leaves(grads(layers, z)), jax.tree.leaves(expected), strict=True
        ):
            assert got.dtype == dtype
            assert relative(got, want) < bound


@pytest.mark.parametrize(
    ("method", "dim", "lowest"),
    [("exact", 1, 1), ("exact", 1, 0), ("exact", 6, 0), ("blocked", 5, 0)],
)
def test_small_and_conditional_degrees(method, dim, lowest):
    with jax.enable_x64(True):
        layers = made(dim, (5, 8), batch=6, lowest=lowest, dtype=np.float64)
        z = latent(6, dim, np.float64)

        def run(name, layers, z):
            options = dict(lowest=lowest, block=2, chunk=4, tol=1e-13)
            return invert(layers, z, method=name, **options).x

        def total(*args):
            return jnp.sum(run(*args) ** 2)

        grad = jax.jit(jax.grad(total, (1, 2)), static_argnums=0)
        got, want = grad(method, layers, z), grad("passes", layers, z)
        assert relative(got[1], want[1]) < 1e-8
        assert relative(got[0][0][1], want[0][0][1]) < 1e-8
        reaches = bool(np.abs(got[0][0][1]).max() > 0)
        assert reaches == (dim > 1 or lowest == 0)


@pytest.mark.parametrize("method", SOLVERS)
def test_vmap_over_runs_and_scan_over_blocks(method):
    dim, runs, blocks = 5, 2, 3
    nets = [made(dim, (8, 8), seed=seed) for seed in range(runs * blocks)]
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves).reshape(runs, blocks, *leaves[0].shape), *nets
    )
    z = np.stack([latent(6, dim, seed=seed) for seed in range(runs)])

    def total(method, layers, z):
        def body(z, net):
            options = dict(method=method, block=2, chunk=4, tol=1e-9)
            return invert(mask(net), z, **options).x[:, ::-1], None

        return jnp.mean(jnp.tanh(jax.lax.scan(body, z, layers)[0]))

    both = jax.jit(jax.vmap(jax.value_and_grad(functools.partial(total, method))))
    values, grads = both(stacked, z)
    oracle = jax.jit(jax.value_and_grad(functools.partial(total, "passes")))
    for run in range(runs):
        one = jax.tree.map(lambda leaf, run=run: leaf[run], stacked)
        want = oracle(one, z[run])
        floats.assert_close(values[run], want[0], rtol=1e-4)
        for got, expected in zip(
            jax.tree.leaves(grads), jax.tree.leaves(want[1]), strict=True
        ):
            assert relative(got[run], expected) < 1e-3


@pytest.mark.parametrize("method", SOLVERS)
def test_an_exploded_row_touches_no_other_row_and_no_gradient(method):
    layers, z = made(6, (12, 12)), latent(5, 6)
    keep = np.arange(5) != 2
    bad = np.array(z)
    bad[2, 1] = np.inf

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def run(layers, z):
        found = invert(layers, z, method=method, block=3, chunk=8)
        x = jnp.where(keep[:, None], found.x, 0)
        return jnp.sum(x**2 + jnp.where(keep[:, None], found.log_scale, 0)), found

    (_, found), grads = jax.device_get(run(layers, bad))
    (_, good), expected = jax.device_get(run(layers, z))
    np.testing.assert_allclose(found.x[keep], good.x[keep], rtol=1e-4, atol=1e-4)
    assert found.residual[2] == np.inf
    assert np.isnan(found.log_scale[2]).all()
    assert found.residual[keep].max() < 1e-4
    for got, want in zip(
        jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def equations(jaxpr):
    inner = extend_core.jaxprs_in_params
    return sum(
        1 + sum(equations(sub) for sub in inner(eqn.params)) for eqn in jaxpr.eqns
    )


@pytest.mark.parametrize("method", SOLVERS)
def test_program_does_not_grow_with_dim(method):
    def size(dim):
        run = jax.grad(functools.partial(loss, method), (0, 1))
        return equations(jax.make_jaxpr(run)(made(dim, (8, 8)), latent(6, dim)).jaxpr)

    assert size(64) == size(8) > 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(method="newton"), "method is 'newton'"),
        (dict(block=0), "block is 0"),
        (dict(chunk=0), "chunk is 0"),
        (dict(tol=-1.0), "tol is -1"),
        (dict(lowest=3), "lowest is 3"),
    ],
)
def test_unknown_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        invert(made(3, (4,)), latent(2, 3), **change)


def test_wrong_shapes_are_named():
    layers = made(3, (4, 4))
    with pytest.raises(ValueError, match="kernels"):
        invert(layers, latent(2, 5))
    with pytest.raises(ValueError, match="1 layers"):
        invert(layers[:1], latent(2, 3))
    wrong = ((layers[0][0], jnp.zeros((3, 4))), *layers[1:])
    with pytest.raises(ValueError, match="bias 0"):
        invert(wrong, latent(2, 3))
