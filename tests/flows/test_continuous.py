"""Continuous flows: solvers against closed forms, estimates, what is left out."""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import continuous
from fdnf.flows.continuous import ContinuousFlow
from tests import laws

SMALL = {"hidden": (6,), "time_features": 2, "solver": "heun", "steps": 2, "levels": 2}
CASE = laws.Case("continuous", ContinuousFlow(**SMALL), (3,), 2)
S, MU = np.array([0.5, 1.5, 2.0]), np.array([1.0, 0.0, -2.0])


def optimal(t, x):
    """E[x_1 - z | x_t] of data N(MU, S^2), by which x_t = (1 - t) z + t x_1 moves.

    The flow of N(0, I) along it is x_t = t MU + z sqrt((1 - t)^2 + t^2 S^2).
    """
    variance = (1 - t) ** 2 + (t * S) ** 2
    return MU + (t * S**2 - (1 - t)) / variance * (x - t * MU)


def solved(solver, steps, z, ends=(0.0, 1.0)):
    """Levels at half of the way and at its end, and log |det|, in float64."""
    times = jnp.linspace(*ends, steps + 1)
    vectors = jnp.broadcast_to(math.sqrt(3) * jnp.eye(3)[:, None], (3, *z.shape))
    table = continuous.tableau(solver)
    return continuous._in_equal_steps(optimal, table, times, z, vectors, steps // 2)


@pytest.mark.parametrize(
    ("solver", "order", "steps"),
    [
        *(("heun", 2, 32), ("midpoint", 2, 32), ("bosh3", 3, 32)),
        *(("tsit5", 5, 8), ("dopri5", 5, 8), ("dopri8", 8, 4)),
    ],
)
def test_gaussian_data_to_the_order_of_the_solver(solver, order, steps):
    with jax.enable_x64(True):
        z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
        few, many = (
            jax.jit(solved, static_argnums=(0, 1))(solver, n, z)
            for n in (steps, 2 * steps)
        )
        half = 0.5 * MU + z * np.sqrt(0.25 + 0.25 * S**2)
        laws.assert_close(half, many[0][0], 1e-3, "half of the way")
        laws.assert_close(MU + z * S, many[0][1], 1e-3, "the data")
        grown = jnp.full(5, np.log(S).sum())
        laws.assert_close(grown, many[1], 1e-3, "log_det")

        def errors(found):
            return np.array(
                [np.abs(found[0][1] - MU - z * S).max(), np.abs(found[1] - grown).max()]
            )

        assert np.all(errors(few) > 0.6 * 2**order * errors(many))
        # The way back, in the same steps.
        back, shrunk = solved(solver, 2 * steps, MU + z * S, (1.0, 0.0))
        laws.assert_close(z, back[1], 1e-3, "the latents")
        laws.assert_close(-grown, shrunk, 1e-3, "log_det back")


def test_adaptive_steps_are_the_limit_of_equal_ones():
    fine = CASE.module.clone(solver="dopri8", steps=16)
    free = fine.clone(solver="tsit5", tolerance=1e-9, limit=100)
    with jax.enable_x64(True):
        variables, x, cond = laws.cast(
            (CASE.variables, CASE.data(), CASE.cond()), float
        )

        @jax.jit
        def run(variables, x):
            first, second = (
                flow.apply(variables, x, cond, method="encode") for flow in (fine, free)
            )
            return first, second, free.apply(variables, second.z, cond, method="decode")

        equal, adaptive, back = run(variables, x)
        assert np.max(np.abs(equal.z[0] - x)) > 0.1, "the flow does nothing"
        laws.assert_close(equal, adaptive, 1e-7, "adaptive")
        laws.assert_close(x, back.x, 1e-7, "and back")
        laws.assert_close(adaptive.levels, back.levels, 1e-7, "levels")
        laws.assert_close(adaptive.log_det, -back.log_det, 1e-7, "log_det")
        # A row that has no path leaves the others alone, and is told.
        other = run(variables, x.at[-1].set(np.nan))[1]
        laws.assert_close(adaptive.z[0][:-1], other.z[0][:-1], 1e-12, "rows")
        assert not np.isfinite(other.z[0][-1]).any()


def test_an_estimate_is_the_trace_on_average():
    x, cond = CASE.data(batch=2), CASE.cond(batch=2)
    rough = CASE.module.clone(log_det="estimate", probes=1)
    keys = jax.random.split(jax.random.key(0), 2000)

    @jax.jit
    def run(variables):
        def density(flow, **rngs):
            return flow.apply(variables, x, cond, method="log_prob", **rngs)

        drawn = jax.vmap(lambda key: density(rough, rngs={"probes": key}))(keys)
        whole = density(rough.clone(probes=3), rngs={"probes": keys[0]})
        return drawn, density(CASE.module), density(rough), whole

    drawn, exact, fixed, whole = run(CASE.variables)
    error = np.std(drawn, axis=0) / np.sqrt(len(keys))
    assert np.all(np.abs(drawn.mean(0) - exact) < 4 * error)
    assert np.all(error > 1e-4)
    assert np.all(np.abs(fixed - exact) > 1e-4)
    # As many probes as there are dimensions are no estimate.
    np.testing.assert_allclose(whole, exact, rtol=0, atol=1e-6)


def test_starts_as_the_identity_with_levels_at_equal_times():
    flow, x = ContinuousFlow(**SMALL), CASE.data()
    variables = jax.jit(flow.init)(jax.random.key(0), x)
    encoding = flow.apply(variables, x, method="encode")
    np.testing.assert_array_equal(encoding.z[0], x)
    assert len(encoding.levels) == 2
    np.testing.assert_array_equal(encoding.log_det, 0.0)
    # In half the steps, half of the levels are the end of the same path.
    half, whole = (
        jax.jit(lambda v, f=f: f.apply(v, x, CASE.cond(), method="encode"))(
            CASE.variables
        )
        for f in (flow.clone(steps=4), flow.clone(steps=2, levels=4))
    )
    laws.assert_close(half.levels, whole.levels[1::2], 1e-6, "levels")


def test_a_sample_takes_no_traces():
    """Nothing in what is compiled has the shape of a product with dv/dx."""
    case = laws.Case("wide", ContinuousFlow((6,), time_features=2, steps=1), (11,))
    z = case.module.draw(jax.random.key(0), (3, 11))

    def compiled(part):
        def run(variables):
            return getattr(case.module.apply(variables, z, method="decode"), part)

        return jax.jit(run).lower(case.variables).compile().as_text()

    assert "[11,3,11]" in compiled("log_det")
    assert "[11,3,11]" not in compiled("x")
    assert "[11,3,11]" not in compiled("levels")


def test_velocity_is_asked_at_one_time_a_row():
    flow, x, cond = CASE.module, CASE.data(), CASE.cond()

    def velocity(t):
        return flow.apply(CASE.variables, x, t, cond, method="velocity")

    rows = velocity(jnp.array([0.0, 0.5, 1.0]))
    for i, t in enumerate((0.0, 0.5, 1.0)):
        laws.assert_close(velocity(t)[i], rows[i], 1e-6, "one time for all")
    assert np.max(np.abs(velocity(0.0) - velocity(1.0))) > 1e-3
    with pytest.raises(ValueError, match=r"times of shape \(2,\) for 3 rows"):
        velocity(jnp.zeros(2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"solver": "euler"}, r"solver='euler'\): expected one of \('heun'"),
        ({"log_det": "series"}, "log_det='series'"),
        ({"steps": 0}, r"steps=0\): expected at least 1"),
        ({"time_features": 3}, "time_features=3.*an even number"),
        ({"tolerance": 0.0}, "tolerance=0.0.*above 0, or None"),
        ({"hidden": (8, 9)}, r"hidden=\(8, 9\).*all equal"),
    ],
)
def test_errors_name_what_was_given(given, message):
    def init():
        return ContinuousFlow(**given).init(jax.random.key(0), jnp.zeros((2, 3)))

    with pytest.raises(ValueError, match=message):
        jax.eval_shape(init)


def test_without_diffrax_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"pip install 'fdnf\[continuous\]'"):
        jax.eval_shape(ContinuousFlow().init, jax.random.key(0), jnp.zeros((2, 3)))
