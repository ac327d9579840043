"""Chains and stacks: order, traces, parameters, inversion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.actnorm import Scaling
from fdnf.bijectors.combinators import Chain, Invert, Repeat, Reverse
from fdnf.bijectors.coupling import Coupling
from fdnf.bijectors.invertible_conv import InvertibleConvPLU
from fdnf.nets.mlp import MLP
from tests import floats, laws

X = jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def scaling_of(raw):
    return {"raw_log_scale": jnp.asarray(raw)}


def test_chain_applies_the_first_part_first():
    chain = Chain((Scaling(), Reverse()))
    variables = {"params": {"parts_0": scaling_of([0.0, 0.0, jnp.log(2.0)])}}
    y, log_det = chain.apply(variables, X)
    floats.assert_close(y, [[6, 2, 1], [12, 5, 4]], rtol=1e-2)
    floats.assert_close(log_det, np.full(2, np.log(2.0)), rtol=1e-2)


def test_repeat_applies_its_first_parameters_first():
    # A scaling before a reversal and one after it act on different columns.
    stack = Repeat(Chain((Scaling(), Reverse())), 2)
    raw = [[0.0, 0.0, 1.0], [0.0, 0.5, 0.0]]
    variables = {"params": {"step": {"parts_0": scaling_of(raw)}}}
    y, _, levels = stack.apply(variables, X, method="trace")
    scales = 12 * np.tanh(np.asarray(raw) / 12)
    first = np.asarray(X * np.exp(scales[0]))[:, ::-1]
    second = (first * np.exp(scales[1]))[:, ::-1]
    floats.assert_close(levels[0], first, rtol=1e-5)
    floats.assert_close(levels[1], second, rtol=1e-5)
    np.testing.assert_array_equal(y, levels[-1])


@pytest.mark.parametrize("unroll", [None, 1, 2], ids=["all", "rolled", "by_two"])
def test_traces_of_both_directions_agree(unroll):
    step = Chain((InvertibleConvPLU(), Coupling(MLP((4,), "tanh"))))
    case = laws.Case("stack", Repeat(step, 3, unroll), (3,))
    there = case.module.apply(case.variables, X, method="trace")
    back = case.module.apply(case.variables, there[0], method="trace_inverse")
    laws.assert_close(back[0], X, 1e-4, "round trip")
    assert len(there[2]) == 3
    laws.assert_close(there[2], back[2], 1e-4, "levels")


def test_a_stack_has_one_leading_axis():
    step = Chain((InvertibleConvPLU(), Coupling(MLP((4,)))))
    for unroll in (1, None):
        variables = Repeat(step, 5, unroll).init(jax.random.key(0), X)
        shapes = {leaf.shape[0] for leaf in jax.tree.leaves(variables)}
        assert shapes == {5}
        permutation = variables["constants"]["step"]["parts_0"]["permutation"]
        assert not np.array_equal(permutation[0], permutation[1]) or not np.array_equal(
            permutation[1], permutation[2]
        )


def test_invert_swaps_directions():
    case = laws.Case("inner", Scaling(), (3,))
    outer = {"params": {"bijector": case.variables["params"]}}
    one = case.module.apply(case.variables, X, method="inverse")
    two = Invert(case.module).apply(outer, X, method="forward")
    laws.assert_close(one, two, 0.0, "inverse is forward")
    twice = Invert(Invert(Scaling())).apply(
        {"params": {"bijector": outer["params"]}}, X, method="forward"
    )
    laws.assert_close(case.module.apply(case.variables, X), twice, 0.0, "twice")
