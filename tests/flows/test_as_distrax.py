"""Flows handed to distrax: densities, samples and shapes stay the same."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import as_distrax
from fdnf.flows.base import FlowModule
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.maf import MAF
from tests import floats, laws

DIM = 4


class TwoParts(FlowModule):
    """Images whose latents are two parts of unequal shapes, scaled by 2 and 3."""

    def latent_shapes(self, event):
        height, width, channels = event
        return ((height, width, 1), (height, width, channels - 1))

    def _encode(self, x, cond):
        z = (2.0 * x[..., :1], 3.0 * x[..., 1:])
        log_det = x[0, ..., :1].size * np.log(2.0) + x[0, ..., 1:].size * np.log(3.0)
        return z, jnp.full(x.shape[0], log_det, x.dtype), ()

    def _decode(self, z, cond):
        x = jnp.concatenate([z[0] / 2.0, z[1] / 3.0], axis=-1)
        log_det = z[0][0].size * np.log(2.0) + z[1][0].size * np.log(3.0)
        return x, jnp.full(x.shape[0], -log_det, x.dtype), ()


CASES = [
    laws.Case("maf", MAF(unroll=1, steps=2, hidden=(8,)), (DIM,), start=False),
    laws.Case(
        "glow",
        TabularGlow(unroll=1, steps=2, hidden=8, depth=1),
        (DIM,),
        start=False,
    ),
    laws.Case("two_parts", TwoParts(), (2, 2, 3)),
]
MAF_COND = laws.Case(
    "maf_cond", MAF(unroll=1, steps=2, hidden=(8,)), (DIM,), 2, start=False
)
over_flows = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@over_flows
def test_log_prob_under_jit(case):
    distribution = as_distrax.as_distribution(case.module, case.variables, case.event)
    assert isinstance(distribution, distrax.Transformed)
    assert distribution.event_shape == case.event
    assert distribution.batch_shape == ()
    x = case.data(batch=6)
    expected = case.apply(x, method="log_prob")
    log_prob = jax.jit(lambda distribution, x: distribution.log_prob(x))
    floats.assert_close(log_prob(distribution, x), expected, rtol=1e-5)
    # No batch axis, and two.
    floats.assert_close(log_prob(distribution, x[0]), expected[0], rtol=1e-5)
    blocks = x.reshape(2, 3, *case.event)
    assert log_prob(distribution, blocks).shape == (2, 3)
    floats.assert_close(log_prob(distribution, blocks).ravel(), expected, rtol=1e-5)


@over_flows
def test_sample_and_log_prob_agree(case):
    distribution = as_distrax.as_distribution(case.module, case.variables, case.event)
    draw = jax.jit(
        lambda key: distribution.sample_and_log_prob(seed=key, sample_shape=5)
    )
    x, log_prob = draw(jax.random.key(3))
    assert x.shape == (5, *case.event)
    expected = case.apply(x, method="log_prob")
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-4)
    assert np.std(x[:, 0]) > 0


def test_bijector_goes_from_latents_to_data():
    case = CASES[0]
    bijector = as_distrax.as_bijector(case.module, case.variables, case.event)
    z = case.data()
    decoding = case.apply((z,), method="decode")
    x, log_det = bijector.forward_and_log_det(z)
    floats.assert_close(x, decoding.x, rtol=1e-5)
    floats.assert_close(log_det, decoding.log_det, rtol=1e-5)
    np.testing.assert_allclose(bijector.inverse(x), z, atol=1e-4)


def test_chains_with_distrax():
    case = CASES[0]
    bijector = as_distrax.as_bijector(case.module, case.variables, case.event)
    scale = distrax.Block(distrax.ScalarAffine(0.0, 2.0), 1)
    chain = distrax.Chain([scale, bijector])
    z = case.data()
    floats.assert_close(chain.forward(z), 2.0 * bijector.forward(z), rtol=1e-5)
    x = chain.forward(z)
    floats.assert_close(
        chain.inverse_log_det_jacobian(x),
        bijector.inverse_log_det_jacobian(x / 2.0) - DIM * np.log(2.0),
        rtol=1e-4,
    )


def ways_to_wrap():
    """From a flow's bijector to bijectors that distrax might take for equal ones."""
    return {
        "alone": lambda b: b,
        "chain": lambda b: distrax.Chain([b]),
        "scaled": lambda b: distrax.Chain(
            [distrax.Block(distrax.ScalarAffine(0.0, 2.0), 1), b]
        ),
        "inverse": distrax.Inverse,
    }


@pytest.mark.parametrize("way", ways_to_wrap())
def test_kl_of_two_flows_of_one_architecture_is_refused(way):
    case, wrap = CASES[0], ways_to_wrap()[way]
    other = laws.perturb(case.variables, 0.5, seed=9)
    base = distrax.MultivariateNormalDiag(jnp.zeros(DIM))
    one, two = (
        distrax.Transformed(
            base, wrap(as_distrax.as_bijector(case.module, variables, case.event))
        )
        for variables in (case.variables, other)
    )
    with pytest.raises(NotImplementedError, match="not possible to guarantee"):
        one.kl_divergence(two)


def test_kl_is_never_that_of_other_weights_in_the_same_object():
    case = CASES[0]
    one = as_distrax.as_distribution(case.module, case.variables, case.event)
    assert one.kl_divergence(one) == 0.0
    moved = jax.tree.map(lambda leaf: leaf + 1.0, one)
    with pytest.raises(NotImplementedError, match="not possible to guarantee"):
        one.kl_divergence(moved)
    with pytest.raises(NotImplementedError, match="not possible to guarantee"):
        jax.jit(lambda a, b: a.kl_divergence(b))(one, moved)


def test_condition_is_used_for_every_row():
    case = MAF_COND
    x, cond = case.data(), jnp.asarray([0.5, -1.0])
    distribution = as_distrax.as_distribution(
        case.module, case.variables, case.event, cond
    )
    rows = jnp.tile(cond, (x.shape[0], 1))
    expected = case.apply(x, rows, method="log_prob")
    log_prob = jax.jit(lambda distribution, x: distribution.log_prob(x))
    floats.assert_close(log_prob(distribution, x), expected, rtol=1e-5)
    other = as_distrax.as_distribution(case.module, case.variables, case.event, -cond)
    assert np.max(np.abs(log_prob(other, x) - expected)) > 1e-2


def test_a_batch_of_conditions_is_a_batch_of_distributions():
    case = MAF_COND
    conds = case.cond(batch=3)
    made = as_distrax.as_distribution(case.module, case.variables, case.event, conds)
    assert made.batch_shape == (3,)
    assert made.event_shape == (DIM,)

    @jax.jit
    def run(key, x):
        drawn, own = made.sample_and_log_prob(seed=key, sample_shape=5)
        # Of one row for every condition, of a row each, of axes before the batch.
        return drawn, own, made.log_prob(x[0]), made.log_prob(x), made.log_prob(drawn)

    x = case.data()
    drawn, own, of_one, of_each, again = run(jax.random.key(0), x)
    assert drawn.shape == (5, 3, DIM)
    assert own.shape == (5, 3)
    np.testing.assert_allclose(own, again, rtol=0, atol=1e-4)
    floats.assert_close(of_each, case.apply(x, conds, method="log_prob"), rtol=1e-5)
    rows = jnp.tile(x[:1], (3, 1))
    floats.assert_close(of_one, case.apply(rows, conds, method="log_prob"), rtol=1e-5)
    with pytest.raises(ValueError, match=r"batch of \(2,\) with conditions of .*3"):
        made.log_prob(x[:2])
    blocks = jnp.broadcast_to(conds[:, None], (3, 4, 2))
    batched = as_distrax.as_bijector(case.module, case.variables, case.event, blocks)
    assert jax.eval_shape(batched.forward, x[:, None]).shape == (3, 4, DIM)


def test_conditions_are_refused_before_the_first_sample():
    case = MAF_COND
    for cond, match in ((None, "without a condition"), (jnp.ones(3), "condition of")):
        with pytest.raises(ValueError, match=f"MAF .*{match}"):
            as_distrax.as_distribution(case.module, case.variables, case.event, cond)
    case = CASES[0]
    with pytest.raises(ValueError, match="made without"):
        as_distrax.as_distribution(case.module, case.variables, case.event, jnp.ones(2))


def test_latents_of_a_multi_scale_flow_are_one_vector():
    flow = Glow(levels=2, steps=1, hidden=4)
    x = jax.random.uniform(jax.random.key(0), (5, 4, 4, 2)) - 0.5
    variables = laws.drawn(flow, x, noise=0.3)
    made = as_distrax.as_distribution(flow, variables, (4, 4, 2))

    @jax.jit
    def run(x):
        latent = made.bijector.inverse(x)
        expected = flow.apply(variables, x, method="log_prob")
        return made.log_prob(x), expected, latent, made.bijector.forward(latent)

    found, expected, latent, again = run(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert latent.shape == (5, 32)
    np.testing.assert_allclose(again, x, atol=1e-5)
    drawn = jax.eval_shape(
        lambda key: made.sample(seed=key, sample_shape=3), jax.random.key(2)
    )
    assert drawn.shape == (3, 4, 4, 2)


def chained():
    base = distrax.Independent(distrax.Normal(jnp.arange(3.0), 2.0 * jnp.ones(3)), 1)
    parts = [
        distrax.Block(distrax.ScalarAffine(jnp.ones(3), jnp.array([2.0, 0.5, 3.0])), 1),
        distrax.Block(distrax.Tanh(), 1),
    ]
    return distrax.Transformed(base, distrax.Chain(parts))


def test_a_distribution_of_distrax_as_a_teacher():
    given = chained()
    x = given.sample(seed=jax.random.key(0), sample_shape=5)
    flow, variables = as_distrax.from_distrax(given)
    found = jax.jit(lambda v: flow.apply(v, x, method="encode"))(variables)
    floats.assert_close(found.log_prob, given.log_prob(x), rtol=1e-4)
    first = given.bijector.bijectors[0].inverse(x)
    assert len(found.levels) == 2
    floats.assert_close(found.levels[0], first)
    # The base's own units are taken out of its latents.
    base = (given.bijector.inverse(x) - jnp.arange(3.0)) / 2.0
    floats.assert_close(found.z[0], base)
    normal = jax.scipy.stats.norm.logpdf(base).sum(1)
    floats.assert_close(found.log_prior, normal, rtol=1e-4)
    back = flow.apply(variables, found.z, method="decode")
    floats.assert_close(back.x, x, rtol=1e-4)
    floats.assert_close(back.log_det, -found.log_det, rtol=1e-4)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, variables)
    assert not np.allclose(
        flow.apply(doubled, x, method="encode").log_prob, found.log_prob
    )


def test_bijectors_and_other_densities_of_distrax():
    x = jnp.ones((4, 3)) / 2
    flow, variables = as_distrax.from_distrax(chained().bijector)
    found = flow.apply(variables, x, method="encode")
    floats.assert_close(found.log_prior, jax.scipy.stats.norm.logpdf(found.z[0]).sum(1))
    weights = distrax.Categorical(probs=jnp.array([0.3, 0.7]))
    mixture = distrax.MixtureSameFamily(
        weights, distrax.MultivariateNormalDiag(jnp.ones((2, 3)), jnp.ones((2, 3)))
    )
    flow, variables = as_distrax.from_distrax(mixture)
    found = flow.apply(variables, x, method="encode")
    assert found.z == found.levels == ()
    floats.assert_close(found.log_prob, mixture.log_prob(x))
    with pytest.raises(ValueError, match="MixtureSameFamily, not normal.*'kl'"):
        flow.apply(variables, (x,), method="decode")
    with pytest.raises(ValueError, match="takes no condition"):
        flow.apply(variables, x, x, method="encode")
    with pytest.raises(TypeError, match=r"from_distrax\(MAF\): expected a distrax"):
        as_distrax.from_distrax(MAF())
