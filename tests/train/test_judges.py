"""Densities as teachers: in the user's units, of all runs, times a prior."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats

import fdnf
from fdnf.data import memory
from fdnf.losses import density
from fdnf.train import judges, preprocess, teachers
from fdnf.train.rules import ConfigError
from fdnf.types import Judge
from tests import floats, laws

RNG = np.random.default_rng(0)
THETA = RNG.uniform(-1, 1, (400, 2))
X = np.exp(THETA + 0.3 * RNG.standard_normal((400, 2)))
BOX = {i: {"kind": "box", "low": -1, "high": 1, "margin": 0.0} for i in range(2)}
MAF = fdnf.flows.MAF(steps=1, hidden=(4,))
COUPLINGS = fdnf.flows.RealNVP(steps=1, hidden=(4,))


@pytest.fixture(scope="module")
def likelihood():
    """Two runs of a flow of x given theta, of columns that are transformed."""
    x, theta = memory.taken(X, THETA), memory.taken(X, THETA)
    data = memory.table(x, theta, {0: "log", 1: "asinh"})
    first = laws.drawn(MAF, jnp.asarray(data.train), data.conditions[0])
    runs = [laws.perturb(first, 0.3, seed) for seed in range(2)]
    variables = jax.tree.map(lambda *leaves: np.stack(leaves), *runs)
    prepared = preprocess.describe(preprocess.make(ConfigDict(), data))
    meta = {"event": (2,), "preprocess": prepared}
    return teachers.Trained(MAF, variables, ConfigDict(), meta)


def flat(theta):
    return jnp.zeros(len(theta))


def test_columns_enter_as_they_are_stored(likelihood):
    columns = likelihood.preprocess.columns
    y, log_det = judges._entered(columns, jnp.asarray(X, jnp.float32))
    stored, expected = columns.encode(None, columns.store(X))
    floats.assert_close(y, stored, rtol=1e-5)
    floats.assert_close(log_det, expected, rtol=1e-5)


def test_mixture_is_the_mean_density_of_the_runs(likelihood):
    judge, variables = fdnf.mixture(likelihood)
    x, theta = (jnp.asarray(a[:50], jnp.float32) for a in (X, THETA))
    found = jax.jit(functools.partial(judge.apply, method="log_prob"))(
        variables, x, theta
    )
    runs = [likelihood.log_prob(X[:50], THETA[:50], run=r) for r in range(2)]
    assert np.abs(runs[0] - runs[1]).max() > 0.01
    floats.assert_close(found, np.logaddexp(*runs) - np.log(2), rtol=1e-5)


def test_posterior_is_likelihood_times_prior(likelihood):
    judge, variables = fdnf.posterior(likelihood, lambda theta: 3 * theta[:, 0])
    theta, x = jnp.asarray(THETA[:50], jnp.float32), jnp.asarray(X[:1], jnp.float32)
    x = jnp.broadcast_to(x, theta.shape)
    alone, _ = fdnf.mixture(likelihood)

    @jax.jit
    def both(variables, theta, x):
        encoding = judge.apply(variables, theta, x, method="encode")
        return encoding, alone.apply(variables, x, theta, method="log_prob")

    encoding, log_prob = both(variables, theta, x)
    expected = log_prob + 3 * theta[:, 0]
    floats.assert_close(encoding.log_prob, expected)
    assert encoding.z == encoding.levels == ()


def test_a_student_sees_the_density_of_what_it_sees():
    # N(0, 0.5^2) of theta on the box, as a density of its logit: by finite differences.
    data = memory.table(memory.taken(THETA), memory.taken(THETA), BOX)
    prepared = judges.Table(data.columns)

    def normal(variables, theta, cond):
        return -0.5 * jnp.sum((theta / variables) ** 2, axis=1)

    y = np.linspace(-2, 2, 9)[:, None] * np.ones(2)
    seen = judges.Transformed(Judge(normal), prepared)(0.5, jnp.asarray(y), None)
    step = 1e-4
    slope = (data.columns.decode(y + step) - data.columns.decode(y - step)) / (2 * step)
    theta = data.columns.decode(y)
    expected = -0.5 * (theta**2).sum(1) / 0.25 + np.log(slope).sum(1)
    floats.assert_close(seen, expected, rtol=1e-4)


# Draws of the density at first, then its reverse KL too.
STAGES = {
    **{"until": (0.5, 1.0), "lr": (1.0, 0.5), "units": "level"},
    **dict.fromkeys(("local", "path_x", "path_z", "parameters"), (0.0, 0.0)),
    **{"forward_kl": (1.0, 1.0), "kl": (0.0, 1.0)},
}


@pytest.mark.parametrize(
    ("method", "loss", "steps"),
    [
        ("kl", {}, 300),
        # Its stages are in `test_guiding`, and a density teaches `kl` too.
        pytest.param(
            *("guided", {f"guided.{k}": v for k, v in STAGES.items()}, 600),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_density_makes_a_sampler(method, loss, steps):
    noise = 0.3

    def gaussian(variables, theta, x):
        return -0.5 * jnp.sum((x - theta) ** 2, axis=1) / noise**2

    x = THETA + noise * RNG.standard_normal(THETA.shape)
    sampler = fdnf.distil(
        *((Judge(gaussian), None), fdnf.flows.RealNVP(steps=1, hidden=(16,))),
        *(THETA, x),
        method=method,
        loss=loss,
        transforms=BOX,
        **{"steps": steps, "batch_size": 128, "lr": 5e-3, "progress": False},
    )
    drawn = sampler.sample(0, 4000, np.array([0.8, 0.0]))
    assert np.abs(drawn).max() < 1
    # The exact posterior is a normal one that the box cuts.
    cut = stats.truncnorm(-1.8 / noise, 0.2 / noise, loc=0.8, scale=noise)
    assert abs(drawn[:, 0].mean() - cut.mean()) < 0.07
    assert abs(drawn[:, 0].std() - cut.std()) < 0.07
    assert abs(drawn[:, 1].std() - noise) < 0.06


def test_reverse_kl_takes_a_judge_alone():
    z = (jax.random.normal(jax.random.key(0), (64, 2)),)
    judge = Judge(lambda variables, x, cond: -0.5 * jnp.sum(x**2, axis=1))
    flow = fdnf.flows.NICE(steps=1, hidden=(4,))
    variables = laws.drawn(flow, z[0])
    loss, aux = density.reverse_kl(flow, judge, variables, None, z)
    assert loss.shape == ()
    assert aux.teacher.levels == ()
    none = Judge(lambda variables, x, cond: jnp.sum(x**2))
    with pytest.raises(ValueError, match=r"64 rows has shape \(\): expected one num"):
        density.reverse_kl(flow, none, variables, None, z)
    with pytest.raises(ValueError, match="density alone and has no 'decode'"):
        judge.apply(None, z, method="decode")


def test_what_a_density_cannot_teach(likelihood):
    teacher = fdnf.posterior(likelihood, flat)
    with pytest.raises(ConfigError, match="method='ilkd' asks the teacher for latents"):
        fdnf.distil(teacher, COUPLINGS, THETA, X, method="ilkd")
    with pytest.raises(ConfigError, match="columns of whole numbers, or that are ofte"):
        fdnf.distil(
            *(teacher, COUPLINGS, np.round(9 * THETA), X),
            **{"method": "kl", "transforms": "integer"},
        )
    pictures = np.zeros((30, 4, 4, 1), np.uint8)
    with pytest.raises(ConfigError, match="flows of vectors, not of images"):
        fdnf.distil(teacher, fdnf.flows.Glow(), pictures, method="kl")
    alone = likelihood._replace(meta=likelihood.meta | {"preprocess": {}})
    with pytest.raises(ValueError, match="this flow has no condition: expected one of"):
        fdnf.posterior(alone, flat)
    judge, variables = teacher
    with pytest.raises(ValueError, match="a posterior has a condition"):
        judge.apply(variables, jnp.zeros((3, 2)), method="log_prob")
