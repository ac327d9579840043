"""What all flows share: prior, sampling, residuals, static use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from fdnf.flows import base
from fdnf.flows.glow import TabularGlow
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import RealNVP
from tests import floats, laws

DIM = 4
FLOWS = [
    TabularGlow(unroll=1, steps=2, hidden=8, depth=1),
    MAF(unroll=1, steps=3, hidden=(8,)),
    IAF(unroll=1, steps=2, hidden=(8,)),
    NICE(steps=3, hidden=(8,)),
    RealNVP(unroll=1, steps=2, hidden=(8,)),
]
over_flows = pytest.mark.parametrize("flow", FLOWS, ids=lambda f: type(f).__name__)
# What has nothing of its own in the way: the others are by `-m slow`.
over_few = pytest.mark.parametrize(
    "flow",
    [
        pytest.param(
            flow,
            id=type(flow).__name__,
            marks=[pytest.mark.slow] * (not isinstance(flow, TabularGlow | MAF)),
        )
        for flow in FLOWS
    ],
)


def case_of(flow, noise=0.3):
    return laws.Case(type(flow).__name__, flow, (DIM,), noise=noise, start=False)


def test_standard_normal_log_prob_is_scipys():
    draw = np.random.default_rng(0).normal
    z = (draw(size=(5, 3)).astype(np.float32), draw(size=(5, 2, 2)).astype(np.float32))
    expected = sum(
        scipy.stats.norm.logpdf(part).reshape(5, -1).sum(axis=1) for part in z
    )
    got = base.standard_normal_log_prob(tuple(jnp.asarray(part) for part in z))
    floats.assert_close(got, expected, rtol=1e-5)


@over_few
def test_density_integrates_to_one(flow):
    # In two dimensions a sum over a grid is the integral.
    case = laws.Case("plane", flow, (2,), noise=0.3, start=False)
    ticks = np.linspace(-16, 16, 401, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2))
    log_prob = jax.jit(lambda v, x: flow.apply(v, x, method="log_prob"))
    mass = np.exp(np.asarray(log_prob(case.variables, grid), np.float64)).sum()
    assert mass * (ticks[1] - ticks[0]) ** 2 == pytest.approx(1.0, abs=0.02)


@over_few
def test_residual_of_decode_is_small(flow):
    case = case_of(flow)
    decode = jax.jit(lambda v, z: flow.apply(v, (z,), method="decode", residual=True))
    decoding = decode(case.variables, case.data())
    assert decoding.residual.shape == (laws.BATCH,)
    assert np.max(decoding.residual) < 1e-4
    assert np.min(decoding.residual) >= 0.0


def test_residual_reports_the_row_that_lost_digits():
    case = case_of(FLOWS[0])
    z = case.data().at[1].mul(1e6)
    decoding = case.apply((z,), method="decode", residual=True)
    assert np.argmax(decoding.residual) == 1


def test_no_residual_unless_asked():
    case = case_of(FLOWS[0])
    decoding = case.apply((case.data(),), method="decode")
    assert decoding.residual is None


@over_few
def test_sample_scales_latents_by_the_temperature(flow):
    variables = case_of(flow).variables
    key, shape = jax.random.key(5), (6, DIM)

    @jax.jit
    def at(temperature):
        sample = flow.apply(variables, key, shape, temperature, method="sample")
        return flow.apply(variables, sample, method="encode").z[0]

    assert at(1.0).shape == shape
    np.testing.assert_allclose(at(0.5), 0.5 * at(1.0), atol=1e-4)
    # Temperature 0 is the mode's image, the same in every row.
    np.testing.assert_allclose(at(0.0), np.zeros(shape), atol=1e-4)


def test_shared_noise_gives_both_flows_the_same_latents():
    key = jax.random.key(1)
    teacher, student = MAF(unroll=1, steps=3), TabularGlow(unroll=1, steps=1)
    for one, two in zip(
        teacher.draw(key, (4, DIM)), student.draw(key, (4, DIM)), strict=True
    ):
        np.testing.assert_array_equal(one, two)


@over_flows
def test_flows_are_static_arguments(flow):
    twin = flow.clone()
    assert twin == flow
    assert hash(twin) == hash(flow)
    assert len({flow, twin, flow.clone(steps=flow.steps + 1)}) == 2


def test_log_prob_is_the_encodings():
    case = case_of(FLOWS[1])
    encoding = case.apply(case.data(), method="encode")
    expected = encoding.log_prior + encoding.log_det
    got = case.apply(case.data(), method="log_prob")
    floats.assert_close(got, expected, rtol=1e-6)
    floats.assert_close(encoding.log_prob, expected, rtol=1e-6)
