"""Multilayer perceptrons: layers, activations, context."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets import mlp
from fdnf.ops import conditioners, trees
from tests import floats, laws

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)


def started(net, features=2, cond=None):
    return jax.jit(net.init, static_argnums=2)(jax.random.key(0), X, features, cond)


def test_is_the_product_of_its_layers():
    net = mlp.MLP((6, 5), activation="relu", last_activation="tanh")
    variables = started(net)
    p = variables["params"]
    h = jax.nn.relu(X @ p["dense_0"]["kernel"] + p["dense_0"]["bias"])
    h = jnp.tanh(h @ p["dense_1"]["kernel"] + p["dense_1"]["bias"])
    expected = h @ p["output"]["kernel"] + p["output"]["bias"]
    floats.assert_close(net.apply(variables, X, 2), expected, rtol=1e-5)
    assert trees.parameter_count(p) == 3 * 6 + 6 + 6 * 5 + 5 + 5 * 2 + 2


@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0])
def test_output_scale(scale):
    wide = mlp.MLP((256,), output_scale=scale)
    kernel = started(wide, 64)["params"]["output"]["kernel"]
    assert np.std(kernel) == pytest.approx(scale / 16, rel=0.1)


def test_context_stands_beside_the_input():
    net = mlp.MLP((6,), "tanh")
    cond = jnp.ones((4, 2))
    variables = started(net, cond=cond)
    assert variables["params"]["dense_0"]["kernel"].shape == (5, 6)
    one, two = (net.apply(variables, X, 2, c) for c in (cond, -cond))
    assert np.max(np.abs(one - two)) > 1e-2


@pytest.mark.parametrize("name", sorted(conditioners.ACTIVATIONS))
def test_activations_are_found_by_name(name):
    assert conditioners.activation(name)(jnp.asarray(0.0)) == 0.0


def test_unknown_activation_lists_the_known():
    with pytest.raises(ValueError, match="unknown activation 'swish2'.*'relu'"):
        conditioners.activation("swish2")


def test_residual_blocks_add_to_what_passes():
    net = mlp.ResidualMLP((6, 6), "tanh")
    variables = laws.perturb(started(net), 0.5)
    p = variables["params"]

    def dense(name, h):
        return h @ p[name]["kernel"] + p[name]["bias"]

    h = dense("dense_0", X)
    for i in range(2):
        h = h + dense(f"b_{i}", jnp.tanh(dense(f"a_{i}", jnp.tanh(h))))
    expected = dense("output", h)
    floats.assert_close(net.apply(variables, X, 2), expected, rtol=1e-5)
    # At first, blocks add little.
    first = started(mlp.ResidualMLP((64, 64)))["params"]
    assert np.std(first["b_1"]["kernel"]) < 0.02 * np.std(first["a_1"]["kernel"])


def test_conditioners_by_name():
    plain = mlp.conditioner("plain", (6, 5), "elu", "tanh", 0.1)
    assert plain == mlp.MLP((6, 5), "elu", "tanh", 0.1)
    residual = mlp.conditioner("residual", (6, 6), "elu", "tanh", 0.1)
    assert residual == mlp.ResidualMLP((6, 6), "elu", 0.1)
    with pytest.raises(ValueError, match="conditioner='wide': expected one of"):
        mlp.conditioner("wide", (6,))
    for hidden in ((6, 5), ()):
        with pytest.raises(ValueError, match="one width a block, all equal"):
            mlp.conditioner("residual", hidden)
