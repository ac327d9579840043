"""A folded SRFlow is the same map, and solves nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import surgery
from tests import floats, laws
from tests.flows.test_srflow import FLOW, HR, LR, decode, encode, images, variables


@functools.cache
def folded():
    return surgery.fold(FLOW, variables())


def test_folding_keeps_both_directions():
    before = jax.tree.map(lambda leaf: np.array(leaf, copy=True), variables())
    flow, its = folded()
    jax.tree.map(np.testing.assert_array_equal, variables(), before)
    assert flow == FLOW.clone(folded=True)
    x, cond = images(*HR, seed=1), images(*LR, seed=2)
    z = FLOW.draw(jax.random.key(1), HR)
    there = jax.jit(functools.partial(flow.apply, method="encode"))(its, x, cond)
    laws.assert_close(encode(variables(), x, cond), there, 1e-4, "encode")
    back = jax.jit(functools.partial(flow.apply, method="decode"))(its, z, cond)
    expected = decode(variables(), z, cond)
    laws.assert_close(expected.x, back.x, 1e-4, "decode")
    floats.assert_close(expected.log_det, back.log_det, rtol=1e-4)


def test_folded_variables_are_those_that_init_makes():
    flow, its = folded()
    args = (jax.random.key(0), jnp.zeros(HR), jnp.zeros(LR))
    shapes = jax.eval_shape(flow.init, *args)
    assert jax.tree.structure(its) == jax.tree.structure(shapes)
    for one, two in zip(jax.tree.leaves(its), jax.tree.leaves(shapes), strict=True):
        assert (one.shape, one.dtype) == (two.shape, two.dtype)


def test_folding_solves_nothing():
    z = FLOW.draw(jax.random.key(1), HR)

    def program(flow, variables):
        def run(z):
            return flow.apply(variables, z, images(*LR), method="decode").x

        return str(jax.make_jaxpr(run)(z))

    flow, its = folded()
    # LU factorisations are what the inverse and the determinant are made of.
    assert "= lu " in program(FLOW, variables())
    assert "= lu " not in program(flow, its)


def test_without_opening_steps():
    flow = FLOW.clone(transitions=0, levels=1)
    x, cond = images(*HR), images(*LR)
    shapes = jax.eval_shape(flow.init, jax.random.key(0), x, cond)
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes
    )
    other, its = surgery.fold(flow, drawn)
    expected = jax.eval_shape(other.init, jax.random.key(0), x, cond)
    assert jax.tree.structure(its) == jax.tree.structure(expected)


def test_a_folded_flow_is_refused():
    with pytest.raises(ValueError, match="folded already"):
        surgery.fold(*folded())
