"""1x1 convolutions: starts, factors and constants of the PLU form, the folded one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdnf.bijectors.invertible_conv import FoldedConv, InvertibleConv, InvertibleConvPLU
from fdnf.ops import trees
from tests import floats

CHANNELS = 5
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, CHANNELS)), jnp.float32)
both = pytest.mark.parametrize("conv", [InvertibleConv(), InvertibleConvPLU()])


@both
def test_starts_as_a_rotation(conv):
    (y, log_det), _ = conv.init_with_output(jax.random.key(1), X)
    floats.assert_close(np.linalg.norm(y, axis=1), np.linalg.norm(X, axis=1), rtol=1e-4)
    np.testing.assert_allclose(log_det, np.zeros(3), atol=1e-4)
    assert np.max(np.abs(y - X)) > 0.1


@both
def test_is_linear_and_the_same_at_every_position(conv):
    images = X[:, None, None, :] * jnp.ones((1, 2, 3, 1))
    variables = conv.init(jax.random.key(1), images)
    y, log_det = conv.apply(variables, images)
    row, row_log_det = conv.apply(variables, X)
    floats.assert_close(y, row[:, None, None, :] * np.ones((1, 2, 3, 1)), 1e-5)
    np.testing.assert_allclose(log_det, 6 * row_log_det, atol=1e-5)


def test_plu_constants_are_booleans_without_a_gradient():
    conv = InvertibleConvPLU()
    variables = conv.init(jax.random.key(1), X)
    params, constants = trees.split_variables(variables)
    assert set(constants) == {"permutation", "sign"}
    assert {leaf.dtype for leaf in constants.values()} == {np.dtype("bool")}

    def objective(variables):
        return jnp.sum(jnp.sin(conv.apply(variables, X)[0]))

    # Nobody differentiates the whole tree without being told.
    with pytest.raises(TypeError, match="bool"):
        jax.grad(objective)(variables)
    slope = jax.grad(lambda p: objective({"params": p, "constants": constants}))(params)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(slope))
    upper = np.asarray(slope["upper"])
    assert np.all(upper[np.tril_indices(CHANNELS)] == 0)


def test_weight_decay_over_all_variables_leaves_the_density_right():
    conv = InvertibleConvPLU()
    variables = conv.init(jax.random.key(1), X)
    optimizer = optax.adamw(1e-2, weight_decay=0.5)
    state, zeros = optimizer.init(variables), jax.tree.map(jnp.zeros_like, variables)
    for _ in range(100):
        updates, state = optimizer.update(zeros, state, variables)
        variables = optax.apply_updates(variables, updates)
    jacobian = jax.jacfwd(lambda x: conv.apply(variables, x[None])[0][0])(X[0])
    y, log_det = conv.apply(variables, X)
    np.testing.assert_allclose(log_det[0], np.linalg.slogdet(jacobian)[1], atol=1e-4)
    back, _ = conv.apply(variables, y, method="inverse")
    np.testing.assert_allclose(back, X, atol=1e-5)


@pytest.mark.parametrize("moved", [1.0, 0.7])
def test_float_constants_of_older_trees_are_read(moved):
    """As they were kept; also where an optimizer has moved them."""
    conv = InvertibleConvPLU()
    variables = conv.init(jax.random.key(1), X)
    constants = jax.tree.map(
        lambda leaf: moved * leaf.astype(jnp.float32), variables["constants"]
    )
    constants["sign"] = 2 * constants["sign"] - moved
    older = {**variables, "constants": constants}
    for method in ("forward", "inverse"):
        expected = conv.apply(variables, X, method=method)
        found = conv.apply(older, X, method=method)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_plu_permutation_is_one():
    conv = InvertibleConvPLU()
    permutation = conv.init(jax.random.key(1), X)["constants"]["permutation"]
    np.testing.assert_array_equal(permutation.sum(axis=0), np.ones(CHANNELS))
    np.testing.assert_array_equal(permutation.sum(axis=1), np.ones(CHANNELS))


FOLDED_CHANNELS = 3
DRAW = np.random.default_rng(0)
FOLDED_X = jnp.asarray(DRAW.normal(size=(2, 4, 5, FOLDED_CHANNELS)), jnp.float32)
WEIGHT = DRAW.normal(size=(FOLDED_CHANNELS, FOLDED_CHANNELS))
BIAS = DRAW.normal(size=FOLDED_CHANNELS)
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
    (y, log_det), made = FoldedConv().init_with_output(jax.random.key(0), FOLDED_X)
    np.testing.assert_array_equal(y, FOLDED_X)
    np.testing.assert_array_equal(log_det, np.zeros(2))
    shapes = jax.tree.map(jnp.shape, made)
    assert shapes == jax.tree.map(jnp.shape, variables())


def test_forward_is_the_affine_map_at_every_position():
    y, log_det = FoldedConv().apply(variables(), FOLDED_X, method="forward")
    expected = np.einsum("oi,bhwi->bhwo", WEIGHT, FOLDED_X) + BIAS
    np.testing.assert_allclose(y, expected, atol=1e-5)
    floats.assert_close(log_det, np.full(2, 4 * 5 * LOG_DET), rtol=1e-5)


def test_inverse_reads_what_is_stored_and_solves_nothing():
    doubled = variables(inverse=2 * np.linalg.inv(WEIGHT))
    y, _ = FoldedConv().apply(doubled, FOLDED_X, method="forward")
    x, _ = FoldedConv().apply(doubled, y, method="inverse")
    np.testing.assert_allclose(x, 2 * FOLDED_X, atol=1e-5)


def test_parameters_are_float32_where_x64_is_on():
    with jax.enable_x64(True):
        made = jax.eval_shape(FoldedConv().init, jax.random.key(0), FOLDED_X)
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {np.dtype("float32")}
