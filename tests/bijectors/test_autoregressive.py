"""MADE and masked affine maps: order, closed form, start, agreement of the inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors import autoregressive
from fdnf.bijectors.autoregressive import MADE, MaskedAutoregressive
from fdnf.bijectors.transformers import Affine
from tests import floats, laws

DIM = 5


def network(hidden, dim=DIM, cond=None, outputs=2, activation="tanh"):
    """(function of one row, variables) of a MADE with large random weights."""
    net = autoregressive.MADE(hidden, activation, outputs)
    x = jnp.zeros((1, dim))
    variables = jax.eval_shape(net.init, jax.random.key(0), x, cond)
    draw = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype), variables
    )
    return net, variables


@pytest.mark.parametrize("hidden", [(16,), (8, 12), (3,)])
def test_output_sees_only_the_dimensions_before_it(hidden):
    net, variables = network(hidden)
    x = jnp.asarray(np.random.default_rng(1).normal(size=DIM), jnp.float32)
    jacobian = jax.jit(jax.jacfwd(lambda row: net.apply(variables, row[None])[:, 0]))(x)
    assert jacobian.shape == (2, DIM, DIM)
    for block in np.asarray(jacobian):
        assert np.all(block[np.triu_indices(DIM)] == 0)
        if hidden[0] >= DIM - 1:
            # No edge is lost: every earlier dimension reaches every later one.
            assert np.all(block[np.tril_indices(DIM, -1)] != 0)


def test_context_reaches_every_output():
    cond = jnp.asarray([[0.3, -0.7]])
    net, variables = network((16,), cond=cond)
    x = jnp.ones((1, DIM))

    def of_cond(cond):
        return net.apply(variables, x, cond[None])[:, 0]

    jacobian = jax.jit(jax.jacfwd(of_cond))(cond[0])
    assert jacobian.shape == (2, DIM, 2)
    assert np.all(np.any(jacobian != 0, axis=-1))


def test_masked_weights_have_no_influence_and_no_gradient():
    net, variables = network((16,))
    x = jnp.ones((2, DIM))
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(jnp.sin(net.apply(v, x)))))
    slope = gradient(variables)["params"]["dense_0_kernel"]
    last = np.asarray(slope)[-1]
    # No output sees the last dimension.
    assert np.all(last == 0)
    assert np.any(np.asarray(slope) != 0)


def test_one_dimension_has_constant_outputs():
    net, variables = network((4,), dim=1)
    outputs = net.apply(variables, jnp.asarray([[0.0], [3.0]]))
    np.testing.assert_array_equal(outputs[:, 0], outputs[:, 1])


def test_layers_are_those_of_the_call():
    net, variables = network((8, 12))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(3, DIM)), jnp.float32)
    layers = net.apply(variables, x, method="net").layers
    assert [kernel.shape for kernel, _ in layers] == [(5, 8), (8, 12), (12, 10)]
    (w, a), (v, b), (u, c) = layers
    with jax.default_matmul_precision("highest"):
        by_hand = jnp.tanh(jnp.tanh(x @ w + a) @ v + b) @ u + c
    found = net.apply(variables, x).transpose(1, 0, 2).reshape(3, -1)
    floats.assert_close(found, by_hand, rtol=1e-5)


def test_no_hidden_layer_is_an_error():
    with pytest.raises(ValueError, match=r"at least one hidden layer, got hidden=\(\)"):
        autoregressive.MADE(()).init(jax.random.key(0), jnp.zeros((1, 2)))


SIZE = 4


def case_of(**settings):
    return laws.Case(
        "masked", MaskedAutoregressive(MADE((12,), "tanh"), **settings), (SIZE,)
    )


def test_init_normalises_its_batch():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(512, SIZE)) @ draw.normal(size=(SIZE, SIZE)) * 5 + 9
    start = jax.jit(case_of().module.init_with_output)
    (u, log_det), _ = start(jax.random.key(0), jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(np.mean(u, axis=0), np.zeros(SIZE), atol=1e-3)
    floats.assert_close(np.std(u, axis=0), np.ones(SIZE), rtol=1e-3)
    assert log_det.shape == (512,)


def test_log_scale_is_bounded():
    case = case_of(transformer=Affine(bound=0.5))
    loud = jax.tree.map(lambda leaf: 100.0 * leaf, case.variables)
    _, log_det = jax.jit(case.module.apply)(loud, case.data())
    assert np.all(np.abs(log_det) <= SIZE * 0.5 + 1e-5)


def test_unknown_method_lists_the_known():
    case = case_of(method="newton")
    with pytest.raises(ValueError, match="'newton'.*'exact'"):
        case.module.apply(case_of().variables, case.data(), method="inverse")
