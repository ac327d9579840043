"""ClariNet's regularised KL: sampling, equality, gradients, floors, composition."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import losses
from fdnf.flows.maf import MAF
from fdnf.flows.wavenet import GaussianWaveNet, WaveIAF
from fdnf.losses import gaussian_conditionals as conditionals
from tests import floats, laws

SHAPE = (3, 5)
DRAW = np.random.default_rng(0)
MEAN_Q, LOG_Q, MEAN_P, LOG_P = (
    jnp.asarray(scale * DRAW.normal(size=SHAPE), jnp.float32)
    for scale in (1.0, 0.4, 1.0, 0.4)
)
PAIRS = (MEAN_Q, LOG_Q, MEAN_P, LOG_P)


def log_density(x, mean, log_scale):
    return jax.scipy.stats.norm.logpdf(x, mean, jnp.exp(log_scale))


def test_kl_is_what_sampling_finds():
    noise = jax.random.normal(jax.random.key(0), (40_000, *SHAPE))
    x = MEAN_Q + jnp.exp(LOG_Q) * noise
    ratio = log_density(x, MEAN_Q, LOG_Q) - log_density(x, MEAN_P, LOG_P)
    error = ratio.std(axis=0) / math.sqrt(len(ratio))
    found = conditionals.kl(*PAIRS)
    assert found.shape == SHAPE
    assert np.all(found > 0)
    assert np.all(np.abs(found - ratio.mean(axis=0)) < 4 * error)


def test_kl_by_hand():
    one = jnp.ones((1, 1))
    # s_q = 2, s_p = 1, one apart: -log 2 + (4 - 1 + 1) / 2.
    found = conditionals.kl(one, math.log(2) * one, 2 * one, 0 * one)
    assert float(found[0, 0]) == pytest.approx(2 - math.log(2), rel=1e-6)


def test_zero_with_zero_gradient_at_equality():
    loss, slopes = jax.value_and_grad(
        lambda m, s: conditionals.regularized_kl(m, s, MEAN_P, LOG_P)[0],
        argnums=(0, 1),
    )(MEAN_P, LOG_P)
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(slopes, np.zeros((2, *SHAPE)), atol=1e-7)


def test_near_equality_the_kl_keeps_its_digits():
    # log s_q - log s_p = h gives h^2 to third order.
    h = 1e-3
    found = conditionals.kl(MEAN_P, LOG_P * 0 + h, MEAN_P, LOG_P * 0)
    floats.assert_close(found, h**2, rtol=2e-3)


def test_loss_and_terms_as_written():
    mu_q, s_q, mu_p, s_p = (np.asarray(part, np.float64) for part in PAIRS)
    s_q, s_p = np.exp(s_q), np.exp(s_p)
    kl = np.log(s_p / s_q) + (s_q**2 - s_p**2 + (mu_p - mu_q) ** 2) / (2 * s_p**2)
    reg = np.mean((np.log(s_p) - np.log(s_q)) ** 2)
    loss, aux = conditionals.regularized_kl(*PAIRS)
    assert float(loss) == pytest.approx(kl.mean() + 4 * reg, rel=1e-5)
    assert set(aux.terms) == {"kl", "reg"}
    assert float(aux.terms["kl"]) == pytest.approx(kl.mean(), rel=1e-5)
    assert float(aux.terms["reg"]) == pytest.approx(reg, rel=1e-5)
    half, _ = conditionals.regularized_kl(*PAIRS, weight=0.5)
    assert float(half) == pytest.approx(kl.mean() + 0.5 * reg, rel=1e-5)


def test_gradient_against_an_expectation_over_a_grid():
    # E_q[log q - log p] by Gauss-Hermite, differentiated: no closed form involved.
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()

    def expected(mean_q, log_q, mean_p, log_p):
        x = mean_q + jnp.exp(log_q) * nodes[:, None, None]
        ratio = log_density(x, mean_q, log_q) - log_density(x, mean_p, log_p)
        reg = jnp.mean((log_p - log_q) ** 2)
        return jnp.mean(jnp.tensordot(weights, ratio, 1)) + 4 * reg

    every = (0, 1, 2, 3)
    found = jax.grad(lambda *a: conditionals.regularized_kl(*a)[0], every)(*PAIRS)
    np.testing.assert_allclose(
        np.stack(found), np.stack(jax.grad(expected, every)(*PAIRS)), atol=2e-6
    )


def test_the_floor_holds_in_the_kl_and_not_in_the_regulariser():
    mean, log = jnp.zeros((1, 1)), jnp.full((1, 1), -9.0)
    loss, aux = conditionals.regularized_kl(mean, log, mean, log + 1)
    assert float(aux.terms["kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(aux.terms["reg"]) == pytest.approx(1.0)
    assert float(loss) == pytest.approx(4.0)
    # A mean e^-6 away from a scale below the floor is one scale away.
    near = conditionals.kl(mean + math.exp(-6.0), log + 3, mean, log)
    assert float(near[0, 0]) == pytest.approx(0.5, rel=1e-5)
    lower = conditionals.kl(mean + math.exp(-7.0), log + 2, mean, log, floor=-7.0)
    assert float(lower[0, 0]) == pytest.approx(0.5, rel=1e-5)


def test_composed_flows_are_one_gaussian_a_step():
    # Three flows, each of which sees the noise before t alone.
    draw = np.random.default_rng(1)
    kernels = [np.tril(0.3 * draw.normal(size=(2, 5, 5)), -1) for _ in range(3)]

    def run(z):
        x, means, logs = z, [], []
        for mean, log in kernels:
            means.append(x @ mean.T)
            logs.append(jnp.tanh(x @ log.T))
            x = x * jnp.exp(logs[-1]) + means[-1]
        return x, conditionals.compose(means, logs)

    z = jnp.asarray(draw.normal(size=(4, 5)), jnp.float32)
    x, (mean, log_scale) = run(z)
    np.testing.assert_allclose(mean + jnp.exp(log_scale) * z, x, atol=1e-5)
    # The last of the noise moves the last sample alone, and that as the scale says.
    moved, (same_mean, same_log) = run(z.at[:, -1].add(1.0))
    np.testing.assert_allclose((mean, log_scale), (same_mean, same_log), atol=1e-6)
    np.testing.assert_allclose(
        (moved - x)[:, -1], jnp.exp(log_scale)[:, -1], rtol=1e-3, atol=1e-5
    )


def test_refusals():
    with pytest.raises(ValueError, match="one shape for all"):
        conditionals.kl(MEAN_Q, LOG_Q, MEAN_P[:1], LOG_P)
    with pytest.raises(ValueError, match="1 means and 2 log-scales"):
        conditionals.compose([MEAN_Q], [LOG_Q, LOG_Q])
    with pytest.raises(ValueError, match="at least one flow"):
        conditionals.compose([], [])


WAVE = dict(layers=2, cycles=1, channels=2, front=2)
TEACHER, STUDENT = GaussianWaveNet(**WAVE), WaveIAF(steps=2, **WAVE)


@functools.partial(jax.jit, static_argnums=3)
def whole(ours, theirs, z, loss):
    """Value, Aux, and the slopes of both flows' variables."""
    slopes = jax.value_and_grad(loss, (2, 3), has_aux=True)
    return slopes(STUDENT, TEACHER, ours, theirs, (z,))


def test_the_loss_of_two_flows_is_that_of_their_conditionals():
    with jax.enable_x64(True):
        z = jnp.asarray(np.random.default_rng(3).normal(size=(2, 6, 1)))
        ours, theirs = (
            laws.cast(laws.drawn(flow, z, noise=0.7), np.float64)
            for flow in (STUDENT, TEACHER)
        )
        (value, aux), (own, taught) = whole(ours, theirs, z, losses.clarinet)

        @jax.jit
        def by_hand():
            x = STUDENT.apply(ours, (z,), method="decode").x
            q = STUDENT.apply(ours, (z,), method="conditionals")
            p = TEACHER.apply(theirs, x, method="conditionals")
            pairs = (*conditionals.compose(*q), *conditionals.compose(*p))
            return x, conditionals.regularized_kl(*pairs)

        x, (expected, terms) = by_hand()
        np.testing.assert_allclose(aux.student.x, x, atol=1e-12)
        np.testing.assert_allclose(value, expected, atol=1e-12)
        np.testing.assert_allclose(aux.terms["reg"], terms.terms["reg"], atol=1e-12)
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(taught)) == 0
        # The way through the samples counts too: against differences.
        along = laws.perturb(jax.tree.map(jnp.zeros_like, ours), 1.0)
        along, step = laws.cast(along, np.float64), 1e-6
        ends = []
        for by in (step, -step):
            moved = jax.tree.map(lambda a, b, by=by: a + by * b, ours, along)
            ends.append(whole(moved, theirs, z, losses.clarinet)[0][0])
        leaves = zip(jax.tree.leaves(own), jax.tree.leaves(along), strict=True)
        slope = sum(jnp.sum(a * b) for a, b in leaves)
        assert abs(slope) > 1e-3
        found = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(found, slope, atol=1e-6 * max(1.0, abs(slope)))


def test_flows_without_conditionals_are_refused():
    flow = MAF(1, (4,))
    with pytest.raises(ValueError, match="clarinet: MAF does not tell the Gaussian"):
        losses.clarinet(STUDENT, flow, {}, {}, (jnp.zeros((2, 6, 1)),))
