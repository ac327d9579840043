"""The folded convolution computes with the parameters it is given."""

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.bijectors.invertible_conv import FoldedConv
from tests import floats

CHANNELS = 3
DRAW = np.random.default_rng(0)
X = jnp.asarray(DRAW.normal(size=(2, 4, 5, CHANNELS)), jnp.float32)
WEIGHT = DRAW.normal(size=(CHANNELS, CHANNELS))
BIAS = DRAW.normal(size=CHANNELS)
LOG_DET = np.linalg.slogdet(WEIGHT)[1]


def variables(**changed):
    params = {
        "weight": WEIGHT,
        "inverse": np.linalg.inv(WEIGHT),
        "bias": BIAS,
        "log_det": LOG_DET,
        **changed,
    }
    return {"params": {k: jnp.asarray(v, jnp.float32) for k, v in params.items()}}


def test_init_is_the_identity():
    (y, log_det), made = FoldedConv().init_with_output(jax.random.key(0), X)
    np.testing.assert_array_equal(y, X)
    np.testing.assert_array_equal(log_det, np.zeros(2))
    shapes = jax.tree.map(jnp.shape, made)
    assert shapes == jax.tree.map(jnp.shape, variables())


def test_forward_is_the_affine_map_at_every_position():
    y, log_det = FoldedConv().apply(variables(), X, method="forward")
    expected = np.einsum("oi,bhwi->bhwo", WEIGHT, X) + BIAS
    np.testing.assert_allclose(y, expected, atol=1e-5)
    floats.assert_close(log_det, np.full(2, 4 * 5 * LOG_DET), rtol=1e-5)


def test_inverse_undoes_it():
    y, there = FoldedConv().apply(variables(), X, method="forward")
    x, back = FoldedConv().apply(variables(), y, method="inverse")
    np.testing.assert_allclose(x, X, atol=1e-5)
    np.testing.assert_array_equal(back, -there)


def test_inverse_reads_what_is_stored_and_solves_nothing():
    doubled = variables(inverse=2 * np.linalg.inv(WEIGHT))
    y, _ = FoldedConv().apply(doubled, X, method="forward")
    x, _ = FoldedConv().apply(doubled, y, method="inverse")
    np.testing.assert_allclose(x, 2 * X, atol=1e-5)


def test_vectors_have_one_position():
    y, log_det = FoldedConv().apply(variables(), X[:, 0, 0], method="forward")
    np.testing.assert_allclose(y, X[:, 0, 0] @ WEIGHT.T + BIAS, atol=1e-5)
    floats.assert_close(log_det, np.full(2, LOG_DET), rtol=1e-5)


def test_parameters_are_float32_where_x64_is_on():
    with jax.enable_x64(True):
        made = jax.eval_shape(FoldedConv().init, jax.random.key(0), X)
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {np.dtype("float32")}
