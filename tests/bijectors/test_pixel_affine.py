"""The autoregressive affine map of images: its order, its inverse and its start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors import pixel_affine
from fdnf.bijectors.combinators import Invert
from fdnf.bijectors.pixel_affine import PixelAffine
from fdnf.nets.pixelcnn import CausalUNet
from tests import floats, laws

# Event, stages, context. The laws have two stages, with and without context.
THREE = ((5, 3, 3), 3, 3)
KINDS = [pytest.param(THREE, marks=pytest.mark.slow), ((1, 4, 2), 1, None)]
METHODS = ("pixels", "jacobi", "naive")


def bijector(stages, method="auto"):
    return PixelAffine(CausalUNet(2, 1, stages), method=method, tolerance=1e-13)


@functools.cache
def given(event, stages, context):
    """The bijector, its variables, images and their context."""
    case = laws.Case("pixels", bijector(stages), event, context)
    arrays = case.data(), case.cond()
    return case.module, laws.drawn(case.module, *arrays, noise=0.7), *arrays


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.usefixtures("x64")
def test_inverse_is_exact_in_all_ways(kind):
    """The ways to invert agree, and what they give is mapped back."""
    module, *arrays = given(*kind)
    variables, y, cond = laws.cast(arrays, np.float64)
    # Others than "pixels" do not know the stages.
    methods = METHODS if kind[1] == 1 else METHODS[:1]

    @jax.jit
    def trip(variables, y, cond):
        x, inverse_log_det = module.apply(variables, y, cond, method="inverse")
        again, log_det = module.apply(variables, x, cond, method="forward")
        weights = module.net.apply(
            {"params": variables["params"]["net"]},
            *(y, pixel_affine.output_size(y.shape[-1]), cond),
            method="weights",
        )
        plans = [pixel_affine.Plan(5.0, name, 1e-13) for name in methods[1:]]
        others = [pixel_affine.solve(plan, weights, y) for plan in plans]
        return x, again, log_det + inverse_log_det, others

    x, again, gap, others = trip(variables, y, cond)
    assert np.std(x - y) > 0.1
    np.testing.assert_allclose(again, y, atol=1e-11)
    np.testing.assert_allclose(gap, 0.0, atol=1e-11)
    for method, other in zip(methods[1:], others, strict=True):
        np.testing.assert_allclose(other, x, atol=1e-9, err_msg=method)


def test_order_is_that_of_the_raster():
    """The Jacobian is triangular over sub-pixels, and nearly full below.

    Over pixels it is whatever the network's is, which `nets` has at more stages.
    """
    module, variables, x, _ = given((3, 4, 3), 1, None)
    x, size = x[:1], x[0].size

    def value(x):
        return module.apply(variables, x, method="forward")[0]

    jacobian = np.abs(jax.jit(jax.jacrev(value))(x).reshape(size, size))
    assert np.triu(jacobian, 1).max() == 0
    assert np.diag(jacobian).min() > 0
    below = jacobian[np.tril_indices(size, -1)]
    assert np.mean(below > 0) > 0.9


def test_unknown_method():
    module = bijector(1, "fast")
    _, variables, x, _ = given((1, 4, 2), 1, None)
    with pytest.raises(ValueError, match="unknown method 'fast'; known"):
        jax.eval_shape(lambda x: module.apply(variables, x, method="inverse"), x)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"expected images .* there is MAF"):
        bijector(1).init(jax.random.key(0), jnp.zeros((2, 3)))


@pytest.mark.parametrize("turned", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fresh_map_standardises_its_batch(turned):
    draw = np.random.default_rng(0).normal(size=(64, 4, 4, 2))
    x = jnp.asarray(draw * [3.0, 0.2] + [-2.0, 1.0], jnp.float32)
    module = PixelAffine(CausalUNet(4, 1, 1))
    if turned:
        module = Invert(module)
    (z, _), _ = jax.jit(module.init_with_output)(jax.random.key(0), x)
    close = 0.3 if turned else 0.02  # what the network adds is left out there
    assert np.abs(np.mean(z, axis=(0, 1, 2))).max() < close
    assert np.abs(np.std(z, axis=(0, 1, 2)) - 1).max() < close


def test_log_scales_are_bounded():
    module = PixelAffine(CausalUNet(2, 1, 1), bound=0.5)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3, 3, 1)), jnp.float32)
    params = dict(laws.drawn(module, x)["params"])
    params["net"] = {**params["net"], "output_bias": jnp.full((1, 2), -50.0)}
    z, log_det = jax.jit(module.apply)({"params": params}, x)
    assert np.all(np.isfinite(z))
    floats.assert_close(log_det, 9 * 0.5, rtol=1e-5)
