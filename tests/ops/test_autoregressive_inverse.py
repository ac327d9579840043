"""The MADE inverse: round trips, methods and gradients against the pass loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core as extend_core

from fdnf.bijectors.transformers import Affine, Compose, RationalQuadratic
from fdnf.ops import autoregressive_inverse, conditioners
from fdnf.ops.autoregressive_inverse import Form, Net
from tests import floats

SOLVERS = ("exact", "blocked", "jacobi")
FORMS = {False: Form(jnp.tanh), True: Form(jnp.tanh, residual=True)}
AFFINE = Affine()
SPLINE = Compose((AFFINE, RationalQuadratic(bins=3, box=1.5)))


def invert(net, z, rich=False, **options):
    form, transformer = FORMS[rich], SPLINE if rich else AFFINE
    return autoregressive_inverse.invert(
        net, z, form=form, transformer=transformer, **options
    )


def forward(net, x, rich=False):
    raw = autoregressive_inverse.evaluate(FORMS[rich], net, x)
    return (SPLINE if rich else AFFINE).forward(raw, x)


def masks(dim, hidden, rich, lowest=1):
    *inner, last = conditioners.made_masks(dim, hidden, lowest=lowest)
    return [*inner, np.tile(last, (1, 3 if rich else 2))]


def made(dim, hidden, *, batch=None, lowest=1, seed=0, dtype=np.float32, rich=False):
    """A masked net whose map is far from the identity.

    A rich one is residual, and three factors a column make the numbers of a spline.
    """
    draw = np.random.default_rng(seed).normal
    outputs = SPLINE.outputs if rich else AFFINE.outputs
    layers = []
    for index, mask in enumerate(masks(dim, hidden, rich, lowest)):
        fan = np.maximum(mask.sum(0), 1)
        kernel = 1.5 * mask * draw(size=mask.shape) / np.sqrt(fan)
        rows = () if batch is None or index else (batch,)
        width = outputs * dim if index == len(hidden) else mask.shape[1]
        bias = 0.5 * draw(size=(*rows, width))
        layers.append((jnp.asarray(kernel, dtype), jnp.asarray(bias, dtype)))
    head = jnp.asarray(draw(size=(3, outputs)), dtype) if rich else None
    return Net(tuple(layers), head)


def mask(net, rich=False):
    """Masks once more: the gradient of a masked weight means nothing and is dropped."""
    dim, *hidden = (kernel.shape[0] for kernel, _ in net.layers)
    patterns = masks(dim, tuple(hidden), rich)
    layers = tuple(
        (kernel * jnp.asarray(pattern, kernel.dtype), bias)
        for (kernel, bias), pattern in zip(net.layers, patterns, strict=True)
    )
    return Net(layers, net.head)


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
PLAIN_AND_RICH = [
    *((*shape, False) for shape in SHAPES),
    (1, (3,), 2, True),
    (7, (5, 9, 5), 6, True),
]


@pytest.mark.parametrize(("dim", "hidden", "batch", "rich"), PLAIN_AND_RICH)
def test_round_trip_and_oracle_in_float64(dim, hidden, batch, rich):
    with jax.enable_x64(True):
        layers = made(dim, hidden, dtype=np.float64, rich=rich)
        z = latent(batch, dim, np.float64)

        @jax.jit
        def run(layers, z):
            # 4 divides neither the batch nor dim: chunks are padded, blocks overlap.
            options = dict(block=4, chunk=4, tol=1e-13)
            found = [invert(layers, z, rich, method=m, **options) for m in SOLVERS]
            back = jax.lax.map(
                lambda x: forward(layers, x, rich), jnp.stack([f.x for f in found])
            )
            return found, back, invert(layers, z, rich, method="passes")

        each, returned, oracle = jax.device_get(run(layers, z))
        for found, back, log_slope in zip(each, *returned, strict=True):
            assert found.x.dtype == np.float64
            assert np.abs(back - z).max() < 1e-9
            assert found.residual.max() < 1e-9
            np.testing.assert_allclose(found.x, oracle.x, rtol=1e-9, atol=1e-9)
            floats.assert_close(found.log_slope, -log_slope, rtol=1e-12)
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


def test_log_slope_is_the_log_det_of_the_inverse():
    with jax.enable_x64(True):
        layers, z = made(5, (12, 12), dtype=np.float64), latent(1, 5, np.float64)
        jacobian = jax.jit(jax.jacrev(lambda z: invert(layers, z).x))(z)
        _, log_det = np.linalg.slogdet(np.asarray(jacobian)[0, :, 0])
        found = jax.jit(invert)(layers, z)
        floats.assert_close(np.asarray(found.log_slope).sum(), log_det, rtol=1e-9)


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


def loss(method, layers, z, rich=False):
    options = dict(method=method, block=3, chunk=4, tol=1e-12)
    found = invert(mask(layers, rich), z, rich, **options)
    return jnp.sum(jnp.sin(found.x)) + 0.3 * jnp.sum(found.log_slope**2)


slopes = jax.jit(jax.grad(loss, (1, 2)), static_argnums=(0, 3))


@pytest.mark.parametrize(
    ("dtype", "bound", "rich", "methods"),
    [
        (np.float32, 1e-4, False, SOLVERS),
        (np.float64, 1e-8, True, SOLVERS[:1]),
        # How a solution is found is no part of its gradient.
        pytest.param(np.float64, 1e-8, True, SOLVERS[1:], marks=pytest.mark.slow),
    ],
)
def test_gradients_equal_autodiff_through_the_passes(dtype, bound, rich, methods):
    """A rich net is conditional, too: its first biases are the rows' own."""
    with jax.enable_x64(dtype == np.float64):
        batch, dim, hidden = 10, 7, (11, 8, 11) if rich else (11, 10)
        rows = batch if rich else None
        layers = made(dim, hidden, batch=rows, dtype=dtype, rich=rich)
        z = latent(batch, dim, dtype)
        expected = jax.tree.leaves(slopes("passes", layers, z, rich))
        for method in methods:
            found = jax.tree.leaves(slopes(method, layers, z, rich))
            for one, want in zip(found, expected, strict=True):
                assert one.dtype == dtype
                assert relative(one, want) < bound


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_gradient():
    with jax.enable_x64(True):
        net = made(5, (6, 5, 6), batch=2, dtype=np.float64, rich=True)
        z = latent(2, 5, np.float64)

        @jax.jit
        def curved(net, z, direction):
            slope = jax.grad(functools.partial(loss, "exact", rich=True), (0, 1))
            return jax.jvp(slope, (net, z), direction)

        direction = jax.tree.map(jnp.sin, (net, z))
        _, found = curved(net, z, direction)
        step = 1e-5
        high, low = (
            curved(
                *jax.tree.map(lambda a, d, h=h: a + h * d, (net, z), direction),
                direction,
            )[0]
            for h in (step, -step)
        )
        for one, above, below in zip(
            *map(jax.tree.leaves, (found, high, low)), strict=True
        ):
            assert relative(one, (above - below) / (2 * step)) < 1e-6


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
        first, expected = (each[0].layers[0][1] for each in (got, want))
        assert relative(first, expected) < 1e-8
        reaches = bool(np.abs(first).max() > 0)
        assert reaches == (dim > 1 or lowest == 0)


@pytest.mark.parametrize(
    "method", ["exact", pytest.param("blocked", marks=pytest.mark.slow), "jacobi"]
)
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
        return jnp.sum(x**2 + jnp.where(keep[:, None], found.log_slope, 0)), found

    (_, found), grads = jax.device_get(run(layers, bad))
    (_, good), expected = jax.device_get(run(layers, z))
    np.testing.assert_allclose(found.x[keep], good.x[keep], rtol=1e-4, atol=1e-4)
    assert found.residual[2] == np.inf
    assert np.isnan(found.log_slope[2]).all()
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
    net, z = made(3, (4, 4)), latent(2, 3)
    with pytest.raises(ValueError, match="kernels"):
        invert(net, latent(2, 5))
    with pytest.raises(ValueError, match="1 layers"):
        invert(Net(net.layers[:1]), z)
    wrong = ((net.layers[0][0], jnp.zeros((3, 4))), *net.layers[1:])
    with pytest.raises(ValueError, match="bias 0"):
        invert(Net(wrong), z)
    with pytest.raises(ValueError, match=r"head \(2, 3\), expected \[factors, 2\]"):
        invert(Net(net.layers, jnp.zeros((2, 3))), z)
    with pytest.raises(ValueError, match=r"hidden layers of \[4, 4\] units, expected"):
        invert(made(3, (4, 4), rich=True), z, rich=True)
