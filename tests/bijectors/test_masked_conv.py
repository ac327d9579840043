"""MintNet's layer: triangular, positive on the diagonal, inverted with a residual."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.combinators import Chain, Repeat
from fdnf.bijectors.masked_conv import MaskedConv
from tests import floats, laws

IMAGE = (4, 3)


def case(channels, mirrored=False, noise=1.5, **settings):
    layer = MaskedConv(3, mirrored, **settings)
    return laws.Case("masked_conv", layer, (*IMAGE, channels), noise=noise)


def jacobian(case, x):
    """[dimensions, dimensions] of one image, in channel-major order."""
    variables = case.variables

    def one(channels_first):
        row = jnp.moveaxis(channels_first, 0, -1)[None]
        y = case.forward(variables, row, None).value[0]
        return jnp.moveaxis(y, -1, 0)

    flat = jax.jit(jax.jacfwd(one))(jnp.moveaxis(x, -1, 0))
    return np.asarray(flat).reshape(x.size, x.size)


def reach(channels):
    """Which places three windows of the order reach, [out, in], channel-major."""
    channel, row, column = np.indices((channels, *IMAGE)).reshape(3, -1)
    up, left = row[:, None] - row, column[:, None] - column
    near = (np.abs(up) <= 1) & (np.abs(left) <= 1)
    past = (up > 0) | ((up == 0) & (left >= 0))
    own = channel[:, None] == channel
    window = near & ((channel[:, None] > channel) | (own & past))
    return np.linalg.matrix_power(window.astype(int), 3) > 0


@pytest.mark.parametrize(
    ("channels", "mirrored"),
    [(1, False), pytest.param(2, False, marks=pytest.mark.slow), (1, True), (2, True)],
)
def test_jacobian_is_triangular_with_a_positive_diagonal(channels, mirrored):
    layer = case(channels, mirrored)
    # Half of the weights' products along a path to itself would be negative.
    x = 3 * layer.data(batch=1)[0]
    slopes = jacobian(layer, x)
    if mirrored:
        slopes = slopes[::-1, ::-1]
    assert np.all(slopes[np.triu_indices(x.size, 1)] == 0)
    np.testing.assert_array_equal(slopes != 0, reach(channels))
    raw = layer.variables["params"]["raw_log_slope"]
    slope = np.exp(3 * np.tanh(raw / 3))
    own = np.diagonal(slopes)[:: -1 if mirrored else 1]
    slope = np.moveaxis(slope, -1, 0).reshape(-1)
    assert np.all(own > slope * (1 - 1e-5))
    assert np.max(own / slope) > 1.2, "the hidden layers add nothing"


def test_a_weight_of_zero_keeps_its_path():
    layer = case(1)
    params = dict(layer.variables["params"])
    params["out_kernel"] = np.zeros_like(params["out_kernel"])
    params["mid_kernel"] = np.abs(params["mid_kernel"])
    params["in_kernel"] = np.abs(params["in_kernel"])

    def loss(params, x):
        return jnp.sum(layer.forward({"params": params}, x, None).log_det)

    gradient = jax.jit(jax.grad(loss))(params, layer.data())
    # Its middle has row and column 1.
    assert np.all(np.asarray(gradient["out_kernel"])[1, 1] > 0)


@pytest.mark.parametrize("step", [0.4, 1.0])
def test_report_of_an_inverse(step):
    layer = case(2, step=step, tolerance=2e-6)
    y = 3 * layer.data(batch=6)
    x, log_det, report = layer.apply(y, method="inverse_with_report")
    there = layer.apply(x, method="forward")
    left = np.abs(there[0] - y) / (1 + np.abs(y))
    assert report.residual.shape == report.iterations.shape == (1, 6)
    assert report.residual.max() <= 2e-6
    np.testing.assert_allclose(left.max((1, 2, 3)), report.residual[0], atol=1e-6)
    np.testing.assert_allclose(log_det, -there[1], atol=1e-4)
    assert 2 <= report.iterations.min()
    # A step of 1 is exact, dimension by dimension, once its own Newton steps are.
    assert report.iterations.max() < (60 if step < 1 else 40)


def test_limit_ends_the_iteration_and_the_residual_says_so():
    layer = case(2, limit=2)
    y = 3 * layer.data(batch=6)
    _, _, report = layer.apply(y, method="inverse_with_report")
    np.testing.assert_array_equal(report.iterations, 2)
    assert report.residual.min() > 1e-5


def test_rows_that_are_not_finite_do_not_hang():
    layer = case(1, limit=1_000_000)
    y = layer.data(batch=4)
    worse = y.at[1, 2, 2].set(jnp.nan).at[2, 0, 0].set(jnp.inf)
    inverse = jax.jit(
        functools.partial(
            layer.module.apply, layer.variables, method="inverse_with_report"
        )
    )
    x, _, report = inverse(worse)
    usual = inverse(y)[0]
    assert np.isinf(report.residual[0, 1:3]).all()
    assert report.iterations.max() < 1000
    np.testing.assert_array_equal(x[::3], usual[::3])


def test_gradient_of_the_inverse_against_differences(x64):
    # Float32 weights hold a difference of 1e-5 badly; the tolerance is below it.
    layer = case(1, noise=0.8, tolerance=1e-14)
    variables, y, v = laws.cast(
        (layer.variables, layer.data(), layer.data(9)), np.float64
    )

    def loss(params, y):
        back = layer.inverse({"params": params}, y, None)
        return jnp.sum(jnp.sin(back.value) * v) + jnp.sum(back.log_det)

    params = variables["params"]
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    _, (of_params, of_y) = both(params, y)
    draw = np.random.default_rng(0).normal
    move = jax.tree.map(lambda leaf: draw(size=leaf.shape), params)
    step, size = draw(size=y.shape), 1e-6

    def at(sign):
        moved = jax.tree.map(lambda p, d: p + sign * size * d, params, move)
        return both(moved, y + sign * size * step)[0]

    expected = (at(1) - at(-1)) / (2 * size)
    products = jax.tree.map(lambda g, d: jnp.sum(g * d), of_params, move)
    found = sum(jax.tree.leaves(products)) + jnp.sum(of_y * step)
    floats.assert_close(found, expected, rtol=1e-6)


# In CI a MintNet reports its layers, in `test_mintnet`, but not in which order.
@pytest.mark.slow
def test_stack_reports_its_layers_in_the_order_of_the_data():
    pair = Chain((MaskedConv(2), MaskedConv(2, mirrored=True)))
    stack = Repeat(pair, 2, unroll=1)
    whole = laws.Case("stack", stack, (*IMAGE, 1), noise=0.4)
    y = whole.data()
    x, log_det, report = whole.apply(y, method="inverse_with_report")
    own = jax.device_get(whole.variables["params"]["step"])
    solved = [
        jax.jit(functools.partial(part.apply, method="inverse_with_report"))
        for part in pair.parts
    ]
    reports, changes = [], []
    for i, part in ((1, 1), (1, 0), (0, 1), (0, 0)):
        params = {
            "params": jax.tree.map(lambda leaf, i=i: leaf[i], own[f"parts_{part}"])
        }
        y, change, one = solved[part](params, y)
        changes.append(change)
        reports.append(one.iterations[0])
    np.testing.assert_allclose(x, y, atol=1e-5)
    np.testing.assert_allclose(log_det, sum(changes), atol=1e-4)
    np.testing.assert_array_equal(report.iterations, reports[::-1])
    assert len(np.unique(np.asarray(reports), axis=0)) > 1, "any order would do"
