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

# Event, stages, context.
KINDS = [
    ((3, 5, 3), 2, 3),
    ((5, 3, 1), 3, None),
    ((1, 4, 2), 1, None),
]
METHODS = ("pixels", "jacobi", "naive")
over_kinds = pytest.mark.parametrize(("event", "stages", "context"), KINDS, ids=str)


def bijector(stages, method="auto"):
    return PixelAffine(CausalUNet(2, 1, stages), method=method, tolerance=1e-13)


@functools.cache
def case(event, stages, context):
    return laws.Case("pixels", bijector(stages), event, context, noise=0.2)


@over_kinds
@pytest.mark.usefixtures("x64")
def test_inverse_is_exact_in_all_ways(event, stages, context):
    """The ways to invert agree, and what they give is mapped back."""
    given = case(event, stages, context)
    arrays = (given.variables, given.data(), given.cond())
    variables, y, cond = laws.cast(arrays, np.float64)
    # Others than "pixels" do not know the stages.
    methods = METHODS if (event, stages, context) == KINDS[0] else METHODS[:1]

    @jax.jit
    def trip(variables, y, cond):
        x, inverse_log_det = given.module.apply(variables, y, cond, method="inverse")
        again, log_det = given.module.apply(variables, x, cond, method="forward")
        weights = given.module.net.apply(
            {"params": variables["params"]["net"]},
            *(y, pixel_affine.output_size(event[-1]), cond),
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


@over_kinds
def test_order_is_that_of_the_raster(event, stages, context):
    """The Jacobian is triangular over sub-pixels, and nearly full below."""
    given = case(event, stages, context)
    x, cond = given.data(batch=1), given.cond(batch=1)

    def value(x):
        return given.module.apply(given.variables, x, cond, method="forward")[0]

    size = x.size
    jacobian = np.abs(jax.jit(jax.jacrev(value))(x).reshape(size, size))
    assert np.triu(jacobian, 1).max() == 0
    assert np.diag(jacobian).min() > 0
    below = jacobian[np.tril_indices(size, -1)]
    assert np.mean(below > 0) > 0.9


def test_unknown_method():
    module = bijector(1, "fast")
    variables = case((1, 4, 2), 1, None).variables
    x = jnp.zeros((2, 1, 4, 2))
    with pytest.raises(ValueError, match="unknown method 'fast'; known"):
        module.apply(variables, x, method="inverse")


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"expected images .* there is MAF"):
        bijector(1).init(jax.random.key(0), jnp.zeros((2, 3)))


@pytest.mark.parametrize("turned", [False, True])
def test_fresh_map_standardises_its_batch(turned):
    draw = np.random.default_rng(0).normal(size=(64, 4, 4, 2))
    x = jnp.asarray(draw * [3.0, 0.2] + [-2.0, 1.0], jnp.float32)
    module = PixelAffine(CausalUNet(4, 1, 2))
    if turned:
        module = Invert(module)
    (z, _), _ = jax.jit(module.init_with_output)(jax.random.key(0), x)
    close = 0.3 if turned else 0.02  # what the network adds is left out there
    assert np.abs(np.mean(z, axis=(0, 1, 2))).max() < close
    assert np.abs(np.std(z, axis=(0, 1, 2)) - 1).max() < close


def test_log_scales_are_bounded():
    module = PixelAffine(CausalUNet(2, 1, 1), bound=0.5)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3, 3, 1)), jnp.float32)
    variables = module.init(jax.random.key(0), x)
    params = {**variables["params"]}
    params["net"] = {**params["net"], "output_bias": jnp.full((1, 2), -50.0)}
    z, log_det = module.apply({"params": params}, x)
    assert np.all(np.isfinite(z))
    floats.assert_close(log_det, 9 * 0.5, rtol=1e-5)
