"""Flow matching against the velocity that is best for Gaussian data, and who moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.continuous import ContinuousFlow
from fdnf.losses import flow_matching
from tests import floats, laws

S, MU = 2.0, -1.0
# The rule of Gauss and Hermite of two points: means of squares are exact.
Z, U, T = (
    jnp.asarray(part.ravel(), jnp.float32)
    for part in np.meshgrid((-1.0, 1.0), (-1.0, 1.0), (0.1, 0.5, 0.9))
)
X = MU + S * U


class Linear:
    """The best velocity if its slope is multiplied by 1, which is the variable."""

    def apply(self, variables, x, t, cond, *, method):
        assert method == "velocity"
        variance = (1 - t) ** 2 + (t * S) ** 2
        slope = ((t * S**2 - (1 - t)) / variance)[:, None]
        return MU + variables * slope * (x - t[:, None] * MU)


BEST = Linear()


def test_the_best_velocity_leaves_the_variance_given_the_point():
    def loss(scale):
        return flow_matching.flow_matching(BEST, scale, X[:, None], (Z[:, None],), T)

    (value, aux), slope = jax.value_and_grad(loss, has_aux=True)(1.0)
    left = S**2 / ((1 - T) ** 2 + (T * S) ** 2)
    floats.assert_close(value, jnp.mean(left), rtol=1e-5)
    floats.assert_close(aux.terms["flow_matching"], value)
    assert abs(slope) < 1e-5
    assert loss(0.9)[0] > value
    assert loss(1.1)[0] > value


def test_condition_and_gradient_reach_the_network():
    case = laws.Case(
        "continuous", ContinuousFlow((6,), time_features=2, steps=1), (3,), 2
    )
    x, z, cond = case.data(1), case.data(2), case.cond()
    t = jnp.array([0.0, 0.5, 1.0])

    @jax.jit
    def loss(variables, cond):
        found = flow_matching.flow_matching(case.module, variables, x, (z,), t, cond)
        return found[0]

    value, slope = jax.value_and_grad(loss)(case.variables, cond)
    between = (1 - t[:, None]) * z + t[:, None] * x
    found = case.apply(between, t, cond, method="velocity")
    floats.assert_close(value, np.mean((found - (x - z)) ** 2), rtol=1e-5)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(slope))
    assert loss(case.variables, cond + 1) != value


@pytest.mark.parametrize(
    ("z", "t"),
    [((jnp.zeros((4, 2)),), jnp.zeros(4)), ((jnp.zeros((4, 3)),), jnp.zeros(3))],
)
def test_shapes_that_differ_are_refused(z, t):
    with pytest.raises(ValueError, match="expected one latent like the data"):
        flow_matching.flow_matching(BEST, 1.0, jnp.zeros((4, 3)), z, t)
