"""Flows of flowjax as teachers."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdnf
from fdnf.flows.flowjax_flows import from_flowjax
from tests import floats

flowjax = pytest.importorskip("flowjax")
from flowjax import distributions, flows  # noqa: E402

X = jax.random.normal(jax.random.key(0), (5, 3))
COND = jax.random.normal(jax.random.key(1), (5, 2))


@pytest.fixture(scope="module")
def taught():
    base = distributions.Normal(jnp.ones(3), 2 * jnp.ones(3))
    return flows.coupling_flow(
        jax.random.key(2), base_dist=base, cond_dim=2, flow_layers=2, nn_width=4
    )


def test_densities_latents_and_levels(taught):
    flow, variables = from_flowjax(taught)
    found = jax.jit(lambda v: flow.apply(v, X, COND, method="encode"))(variables)
    floats.assert_close(found.log_prob, taught.log_prob(X, COND))
    # Two layers, and what makes the base standard.
    assert [level.shape for level in found.levels] == 3 * [(5, 3)]
    np.testing.assert_array_equal(found.levels[-1], found.z[0])
    normal = jax.scipy.stats.norm.logpdf(found.z[0]).sum(1)
    floats.assert_close(found.log_prior, normal)
    back = flow.apply(variables, found.z, COND, method="decode")
    floats.assert_close(back.x, X, rtol=1e-4)
    floats.assert_close(back.log_det, -found.log_det, rtol=1e-4)
    grads = jax.grad(lambda v: flow.apply(v, X, COND, method="encode").log_prob.sum())(
        variables
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_other_bases_share_no_latents():
    heavy = distributions.StudentT(4.0 * jnp.ones(3))
    flow, variables = from_flowjax(heavy)
    found = flow.apply(variables, X, method="encode")
    floats.assert_close(found.log_prob, heavy.log_prob(X))
    with pytest.raises(ValueError, match="not standard normal.*method='kl'"):
        flow.apply(variables, (X,), method="decode")


def test_wrong_uses(monkeypatch):
    with pytest.raises(TypeError, match="from_flowjax.MAF.: expected a distribution"):
        from_flowjax(fdnf.flows.MAF())
    monkeypatch.setitem(sys.modules, "flowjax", None)
    with pytest.raises(ImportError, match="not installed: pip install flowjax"):
        from_flowjax(None)
