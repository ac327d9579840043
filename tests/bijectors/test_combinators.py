"""Chains and stacks: order, traces, parameters, inversion; reorderings."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.actnorm import Scaling
from fdnf.bijectors.autoregressive import MADE, MaskedAutoregressive
from fdnf.bijectors.combinators import Chain, Invert, Repeat, Reverse, Shuffle, Squeeze
from fdnf.bijectors.coupling import Coupling
from fdnf.bijectors.invertible_conv import InvertibleConvPLU
from fdnf.nets.mlp import MLP
from fdnf.ops import squeeze
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


@pytest.mark.parametrize(
    "unroll",
    [
        pytest.param(None, id="all"),
        pytest.param(1, id="rolled"),
        pytest.param(2, id="by_two", marks=pytest.mark.slow),
    ],
)
def test_traces_of_both_directions_agree(unroll):
    step = Chain((InvertibleConvPLU(), Coupling(MLP((4,), "tanh"))))
    case = laws.Case("stack", Repeat(step, 3, unroll), (3,), start=False)
    there = case.apply(X, method="trace")
    back = case.apply(there[0], method="trace_inverse")
    laws.assert_close(back[0], X, 1e-4, "round trip")
    assert len(there[2]) == 3
    laws.assert_close(there[2], back[2], 1e-4, "levels")


# In CI folded flows have their steps apart, in `test_surgery`.
@pytest.mark.slow
def test_steps_apart_do_what_stacked_ones_do():
    def step():
        return Chain((InvertibleConvPLU(), MaskedAutoregressive(MADE((4,)))))

    stacked = laws.Case("stack", Repeat(step(), 2, unroll=1), (3,), start=False)
    apart = Repeat(step(), 2, apart=tuple(step() for _ in range(2)))

    variables = {
        kind: {
            f"apart_{i}": jax.tree.map(operator.itemgetter(i), tree["step"])
            for i in range(2)
        }
        for kind, tree in stacked.variables.items()
    }
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, dict(jax.eval_shape(apart.init, jax.random.key(0), X))
    )
    methods = {
        **dict.fromkeys(("trace", "trace_inverse", "parameters", "forward"), X),
        **dict.fromkeys(("inspect_trace", "trace_inverse_with_report"), X),
        **dict.fromkeys(("each_forward", "each_inverse"), jnp.stack([X, X + 1])),
    }

    @functools.partial(jax.jit, static_argnums=0)
    def run(module, variables):
        return [module.apply(variables, x, method=m) for m, x in methods.items()]

    found, expected = run(apart, variables), run(stacked.module, stacked.variables)
    for method, one, two in zip(methods, found, expected, strict=True):
        laws.assert_close(one, two, 1e-5, method)
    with pytest.raises(ValueError, match="2 steps apart of 3, expected all or none"):
        apart.clone(length=3)


def test_a_stack_has_one_leading_axis():
    step = Chain((InvertibleConvPLU(), Coupling(MLP((4,)))))
    for unroll in (1, None):
        variables = jax.jit(Repeat(step, 3, unroll).init)(jax.random.key(0), X)
        shapes = {leaf.shape[0] for leaf in jax.tree.leaves(variables)}
        assert shapes == {3}
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


PERMUTED_X = jnp.arange(2 * 3 * 4, dtype=jnp.float32).reshape(2, 3, 4)


def test_reverse_flips_one_axis():
    y, log_det = Reverse().apply({}, PERMUTED_X)
    np.testing.assert_array_equal(y, PERMUTED_X[:, :, ::-1])
    np.testing.assert_array_equal(log_det, np.zeros(2))
    y, _ = Reverse(axis=1).apply({}, PERMUTED_X)
    np.testing.assert_array_equal(y, PERMUTED_X[:, ::-1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffle_is_a_fixed_permutation_of_channels(seed):
    y, _ = Shuffle(seed).apply({}, PERMUTED_X)
    again, _ = Shuffle(seed).apply({}, PERMUTED_X)
    np.testing.assert_array_equal(y, again)
    np.testing.assert_array_equal(np.sort(y, axis=-1), PERMUTED_X)
    # The same order at every position.
    order = np.asarray(y[0, 0], int)
    np.testing.assert_array_equal(y, PERMUTED_X[..., order])


def test_seeds_differ():
    x = jnp.arange(32.0)[None]
    assert not np.array_equal(Shuffle(0).apply({}, x)[0], Shuffle(1).apply({}, x)[0])


SQUEEZED_X = jnp.asarray(
    np.random.default_rng(0).normal(size=(3, 4, 6, 2)), jnp.float32
)


def test_is_the_operation_with_log_det_0():
    y, log_det = Squeeze().apply({}, SQUEEZED_X, method="forward")
    np.testing.assert_array_equal(y, squeeze.squeeze(SQUEEZED_X))
    np.testing.assert_array_equal(log_det, np.zeros(3))
    back, log_det = Squeeze().apply({}, y, method="inverse")
    np.testing.assert_array_equal(back, SQUEEZED_X)
    np.testing.assert_array_equal(log_det, np.zeros(3))
    assert log_det.dtype == SQUEEZED_X.dtype


def test_has_no_parameters():
    assert not jax.tree.leaves(Squeeze().init(jax.random.key(0), SQUEEZED_X))


def test_odd_sides_are_refused():
    with pytest.raises(ValueError, match="must be even"):
        Squeeze().apply({}, SQUEEZED_X[:, :3], method="forward")
