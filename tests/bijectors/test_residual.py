"""Residual layers: contractions with any weights, honest inverses, log_dets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors import residual
from fdnf.bijectors.combinators import Repeat
from fdnf.bijectors.residual import Residual
from fdnf.ops import residual_log_det
from tests import floats, laws

VECTOR, IMAGE = (3,), (3, 2, 2)


def case(event, noise=1.0, **settings):
    return laws.Case("residual", Residual((5, 5), **settings), event, noise=noise)


def jacobians(layer, variables, x):
    """[rows, dim, dim], of y by x."""

    def row(x):
        return layer.forward(variables, x[None], None).value.reshape(-1)

    flat = jax.jit(jax.vmap(jax.jacfwd(row)))(x)
    return np.asarray(flat, np.float64).reshape(len(x), -1, x[0].size)


@pytest.mark.parametrize("activation", residual.ACTIVATIONS)
def test_no_slope_of_an_activation_is_above_one(activation):
    slope_of = jax.jit(jax.vmap(jax.grad(residual.ACTIVATIONS[activation]), (0, None)))
    for raw in (0.5, 3.0):
        slope = slope_of(jnp.linspace(-8, 8, 4001), raw)
        assert 0.999 < np.abs(slope).max() <= 1 + 1e-6


# In CI layers of images have their laws alone.
@pytest.mark.parametrize("event", [VECTOR, pytest.param(IMAGE, marks=pytest.mark.slow)])
def test_lipschitz_constant_is_below_the_bound_for_any_weights(event):
    layer = case(event, activation="tanh", bound=0.8)
    # Where tanh is steep, and where a step is long.
    near, far = 1e-3 * layer.data(batch=8), 30 * layer.data(batch=8, seed=5)
    forward = jax.jit(layer.forward)
    for size in (1.0, 100.0):
        params = {
            name: (size if "kernel" in name else 1e-3) * leaf
            for name, leaf in layer.variables["params"].items()
        }
        g = jacobians(layer, {"params": params}, near) - np.eye(near[0].size)
        norms = np.linalg.svd(g, compute_uv=False)[:, 0]
        # Kernels are shrunk to the bound, it is not one that nothing comes near.
        assert 0.1 < norms.max() < 0.8 * (1 + 1e-5)
        both = jnp.concatenate([near, far])
        moved = forward({"params": params}, both, None).value - both
        moved = moved[8:] - moved[:8]
        lengths = [
            np.linalg.norm(a.reshape(8, -1), axis=1) for a in (moved, far - near)
        ]
        assert np.all(lengths[0] <= 0.8 * lengths[1])


def test_small_weights_are_left_alone():
    layer = Residual((4,), activation="tanh")
    x = jnp.asarray([[0.3, -0.2, 0.5]])
    variables = layer.init(jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: 0.1 * leaf, variables["params"])
    y, _ = layer.apply({"params": params}, x, method="forward")
    expected = x + jnp.tanh(x @ params["kernel_0"]) @ params["kernel_1"]
    floats.assert_close(y, expected, rtol=1e-6)


# A row alone, and dimensions that the laws have not.
@pytest.mark.parametrize("dim", [1, pytest.param(2, marks=pytest.mark.slow), 7])
def test_one_row_of_any_width(dim, x64):
    layer = laws.Case("residual", Residual((4,), tolerance=1e-13), (dim,), noise=1.0)
    variables, x = laws.cast((layer.variables, layer.data(batch=1)), np.float64)
    there, _ = laws.both_jitted(layer, variables, x, x, None)
    _, back = laws.both_jitted(layer, variables, x, there.value, None)
    laws.assert_close(x, back.value, 1e-9, "round trip")
    laws.assert_close(there.log_det, -back.log_det, 1e-9, "log_dets cancel")


@pytest.mark.parametrize("bound", [0.5, 0.95])
def test_report_of_an_inverse(bound):
    layer = case(VECTOR, bound=bound, tolerance=2e-6)
    y = 3 * layer.data(batch=6)
    x, log_det, report = layer.apply(y, method="inverse_with_report")
    there = layer.apply(x, method="forward")
    left = np.abs(there[0] - y) / (1 + np.abs(y))
    assert report.residual.shape == report.iterations.shape == (1, 6)
    assert report.residual.max() <= 2e-6
    np.testing.assert_allclose(left.max(1), report.residual[0], atol=1e-6)
    np.testing.assert_allclose(log_det, -there[1], atol=1e-4)
    # The error starts at a multiple of the bound, and is shrunk by it in each step.
    steps = np.log(2e-6 / 10) / np.log(bound)
    assert 2 <= report.iterations.min() <= report.iterations.max() < steps


def test_limit_ends_the_iteration_and_the_residual_says_so():
    layer = case(VECTOR, bound=0.95, limit=2)
    _, _, report = layer.apply(3 * layer.data(batch=6), method="inverse_with_report")
    np.testing.assert_array_equal(report.iterations, 2)
    assert report.residual.min() > 1e-5


def test_gradient_of_the_inverse_needs_more_steps_than_dimensions(x64):
    layer = laws.Case("residual", Residual((6,), bound=0.95, tolerance=1e-14), (2,))
    variables, y, v = laws.cast(
        (layer.variables, layer.data(), layer.data(9)), np.float64
    )

    def back(y):
        return jnp.sum(layer.inverse(variables, y, None).value * v)

    x = jax.jit(layer.inverse)(variables, y, None).value
    slopes = jacobians(layer, variables, x)
    expected = np.linalg.solve(slopes.swapaxes(1, 2), np.asarray(v)[..., None])[..., 0]
    floats.assert_close(jax.jit(jax.grad(back))(y), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("settings", "without", "with_key"),
    [
        # A key's estimate takes 5 + 6.0 products on average, the Jacobian 12.
        ({}, "exact", "estimate"),
        ({"sure": 6}, "exact", "exact"),
        ({"chance": 0.5}, "exact", "estimate"),
        ({"exact": 12}, "exact", "estimate"),
        ({"exact": 11}, "series", "estimate"),
        ({"log_det": "exact", "exact": 1}, "exact", "exact"),
        ({"log_det": "series", "sure": 12}, "series", "estimate"),
    ],
)
def test_which_log_det_is_taken(settings, without, with_key, monkeypatch):
    layer, x = Residual((4,), **settings), jnp.zeros((2, *IMAGE))
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    taken = []
    for name in ("exact", "series", "estimate"):

        def noted(*args, name=name):
            taken.append(name)
            return jnp.zeros(2)

        monkeypatch.setattr(residual.residual_log_det, name, noted)

    def run(variables, rngs):
        return layer.apply(variables, x, method="forward", rngs=rngs)

    for rngs in (None, {"probes": jax.random.key(1)}):
        jax.eval_shape(run, variables, rngs)
    assert taken == [without, with_key]


def test_layers_of_a_stack_draw_apart():
    # Linear layers: their estimates depend on the key alone.
    layer = Residual((), bound=0.6, log_det="series", sure=1)
    x = jnp.zeros((1, 3))
    kernel = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    params = {"kernel_0": jnp.asarray(kernel), "bias_0": jnp.zeros(3)}

    def spread(module, params):
        def run(key):
            rngs = {"probes": key}
            return module.apply({"params": params}, x, method="forward", rngs=rngs)[1][
                0
            ]

        return jnp.std(jax.vmap(run)(jax.random.split(jax.random.key(0), 1000)))

    both = {"step": jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)}
    one = jax.jit(lambda: spread(layer, params))()
    two = jax.jit(lambda: spread(Repeat(layer, 2, unroll=1), both))()
    # The root of two where they are independent, two where they are the same.
    assert 1.25 < two / one < 1.6


def test_a_condition_moves_what_it_stands_beside_and_is_not_bounded():
    layer = laws.Case("residual", Residual((4,)), VECTOR, 2, noise=1.0)
    x, cond = jnp.zeros((2, 3)), jnp.asarray([[0.0, 0.0], [100.0, 0.0]])
    y = jax.jit(layer.forward)(layer.variables, x, cond).value
    assert np.abs(y[1] - y[0]).max() > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bound": 1.0}, r"bound=1.0\): expected a Lipschitz constant in \(0, 1\)"),
        ({"bound": 0.0}, r"bound=0.0"),
        ({"activation": "relu"}, "activation='relu'.*expected one of .*'lipswish'"),
        ({"log_det": "hutchinson"}, "log_det='hutchinson'.*'auto', 'exact', 'series'"),
        ({"chance": 1.0}, "chance=1.0.*or None"),
        ({"hidden": (4, 0)}, r"hidden=\(4, 0\)"),
        ({"terms": 0}, "terms=0"),
        ({"probes": 0}, "probes=0"),
        ({"sure": -1}, "sure=-1"),
        ({"limit": 0}, "limit=0"),
    ],
)
def test_errors_name_what_was_given(settings, message):
    with pytest.raises(ValueError, match=message):
        Residual(**settings)


def test_the_rest_of_the_default_series_is_small():
    layer = Residual()
    assert residual_log_det.rest(1, layer.bound, layer.terms) < 0.02
