"""MintNet as a flow: shapes, levels, report, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.mintnet import MintNet
from fdnf.ops import trees
from tests import laws

EVENT = (4, 4, 1)


@pytest.fixture(scope="module")
def small():
    flow = MintNet(2, 1, hidden=8)
    return laws.Case("mintnet", flow, EVENT, noise=0.4, start=False)


def test_report_and_residual(small):
    z = (small.data(batch=16).reshape(16, 2, 2, 4),)

    @jax.jit
    def run(variables, z):
        apply = small.module.apply
        decoding, report = apply(variables, z, method="decode_with_report")
        return decoding, report, apply(variables, decoding.x, method="encode")

    decoding, report, encoding = run(small.variables, z)
    np.testing.assert_allclose(encoding.z[0], z[0], atol=1e-5)
    np.testing.assert_allclose(decoding.log_det, -encoding.log_det, atol=1e-4)
    # A pair of a level is two layers.
    assert report.iterations.shape == report.residual.shape == (4, 16)
    assert report.residual.max() <= 2e-6
    assert report.iterations.min() >= 1
    for levels in (decoding.levels, encoding.levels):
        assert [level.shape for level in levels] == [(16, 4, 4, 1), (16, 2, 2, 4)]


def test_every_pixel_sees_every_other(small):
    x, variables = small.data(batch=1), small.variables

    def latent(flat):
        z = small.forward(variables, flat.reshape(1, *EVENT), None)
        return z.value.reshape(-1)

    slopes = jax.jit(jax.jacfwd(latent))(x.reshape(-1))
    assert np.all(np.asarray(slopes) != 0)


def test_starts_near_an_activation_norm():
    flow, x = MintNet(2, 1, hidden=8), 5 + 3 * laws.Case("", MintNet(), EVENT).data()
    # `init` encodes.
    encoding, _ = jax.jit(flow.init_with_output)(jax.random.key(0), x)
    z = np.asarray(encoding.z[0])
    assert abs(z.mean()) < 0.2
    assert abs(z.std() - 1) < 0.2


def test_a_squeeze_divides_the_units_per_channel():
    x = jnp.zeros((2, *EVENT))
    shapes = jax.eval_shape(MintNet(2, 1, hidden=8).init, jax.random.key(0), x)
    biases = [
        leaf.shape[-1]
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes["params"])
        if path[-1].key == "mid_bias"
    ]
    assert biases == [8, 8, 8, 8]
    assert trees.parameter_count(shapes["params"]) > 0


def test_latent_shapes():
    assert MintNet(3).latent_shapes((28, 28, 1)) == ((7, 7, 16),)
    assert MintNet().latent_shapes((5, 3, 2)) == ((5, 3, 2),)


@pytest.mark.parametrize(
    ("flow", "event", "message"),
    [
        (MintNet(3), (6, 8, 1), r"\(6, 8, 1\) do not fit: .*sides that 4 divides"),
        (MintNet(2), (8,), r"\(8,\) do not fit"),
        (MintNet(2, (1,)), EVENT, r"levels=2, steps=\(1,\)"),
        (MintNet(0), EVENT, "levels=0"),
        (MintNet(1, 0), EVENT, "steps=0"),
    ],
)
def test_errors_name_what_was_given(flow, event, message):
    x = jax.ShapeDtypeStruct((2, *event), jnp.float32)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(flow.init, jax.random.key(0), x)
