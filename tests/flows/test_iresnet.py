"""I-ResNets as flows: reports, shapes, levels, what training draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.iresnet import IResNet, MultiScaleIResNet
from fdnf.losses import distillation
from tests import laws

VECTORS = laws.Case("vectors", IResNet(3, (6,)), (3,), 2, start=False)
IMAGES = laws.Case(
    "images", MultiScaleIResNet(2, 1, 4), (4, 4, 1), 2, noise=0.3, start=False
)


@pytest.mark.parametrize(
    "case",
    [VECTORS, pytest.param(IMAGES, marks=pytest.mark.slow)],
    ids=lambda case: case.name,
)
def test_report_and_residual(case):
    x, cond = case.data(batch=5), case.cond(batch=5)
    layers = 3 if case is VECTORS else 2

    @jax.jit
    def run(variables):
        encoding = case.module.apply(variables, x, cond, method="encode")
        back = case.module.apply(
            variables, encoding.z, cond, method="decode_with_report"
        )
        return encoding, *back

    encoding, decoding, report = run(case.variables)
    np.testing.assert_allclose(decoding.x, x, atol=1e-4)
    np.testing.assert_allclose(decoding.log_det, -encoding.log_det, atol=1e-4)
    for one, two in zip(decoding.levels, encoding.levels, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
    assert report.iterations.shape == report.residual.shape == (layers, 5)
    assert report.residual.max() <= 2e-6
    assert report.iterations.min() >= 2


def test_starts_near_an_activation_norm():
    flow, x = IResNet(2, (8,)), 5 + 3 * laws.Case("", None, (4,)).data(batch=256)
    # `init` encodes.
    encoding, variables = jax.jit(flow.init_with_output)(jax.random.key(0), x)
    z = np.asarray(encoding.z[0])
    assert np.all(np.abs(z.mean(0)) < 1)
    assert 0.5 < z.std() < 2
    # All that is trained is in params: nothing of a power iteration is kept.
    assert set(variables) == {"params"}


def test_latent_shapes():
    assert IResNet().latent_shapes((7,)) == ((7,),)
    assert MultiScaleIResNet(2).latent_shapes((8, 8, 1)) == ((4, 4, 2), (2, 2, 8))


def test_likelihood_by_a_key_is_that_without_on_average():
    flow = IResNet(2, (6,), bound=0.6, sure=2)
    series = flow.clone(log_det="series")
    case = laws.Case("keys", flow, (3,), start=False)
    x, keys = case.data(batch=2), jax.random.split(jax.random.key(0), 1000)

    @jax.jit
    def run(variables):
        def loss(flow, key):
            return distillation.nll(flow, variables, x, key=key)[0]

        drawn = jax.vmap(lambda key: loss(series, key))(keys)
        return drawn, loss(flow, None), loss(flow, keys[0])

    drawn, exact, few = run(case.variables)
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(np.mean(drawn) - exact) < 4 * error
    assert 1e-4 < error < 0.02
    # Three dimensions take fewer products than an estimate does.
    assert few == exact


@pytest.mark.parametrize(
    ("flow", "event", "message"),
    [
        (MultiScaleIResNet(2), (6, 8, 1), r"\(6, 8, 1\) do not fit: .*4 divides"),
        (IResNet(2), (4, 4, 1), r"\(4, 4, 1\): expected \(dim\)"),
        (IResNet(2, bound=1.5), (4,), "bound=1.5.*Lipschitz"),
        (MultiScaleIResNet(0), (4, 4, 1), "levels=0"),
    ],
)
def test_errors_name_what_was_given(flow, event, message):
    x = jax.ShapeDtypeStruct((2, *event), jnp.float32)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(flow.init, jax.random.key(0), x)


def test_images_are_no_condition():
    def init(flow, x, cond):
        jax.eval_shape(flow.init, jax.random.key(0), x, cond)

    cond = jnp.zeros((2, 4, 4, 1))
    for flow, x in (
        (MultiScaleIResNet(2, 1, 4), jnp.zeros((2, 4, 4, 1))),
        (IResNet(2, (4,)), jnp.zeros((2, 3))),
    ):
        with pytest.raises(ValueError, match=r"\(2, 4, 4, 1\): .*\[batch, features\]"):
            init(flow, x, cond)
