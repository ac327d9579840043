"""Tabular Glow: data-dependent initialisation inside the scanned stack."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.actnorm import ActNorm
from fdnf.flows.glow import TabularGlow
from fdnf.flows.realnvp import RealNVP
from tests import laws

DIM = 5


def batch(seed=0, rows=256):
    draw = np.random.default_rng(seed)
    mix = draw.normal(size=(DIM, DIM))
    data = draw.normal(size=(rows, DIM)) @ mix * 3.0 + 7.0
    return jnp.asarray(data, jnp.float32)


@pytest.mark.parametrize("unroll", [1, None], ids=["rolled", "unrolled"])
@pytest.mark.parametrize(
    "flow",
    [TabularGlow(steps=2, hidden=8, depth=1), RealNVP(steps=2, hidden=(8,))],
    ids=["glow", "realnvp"],
)
def test_every_actnorm_of_the_stack_starts_normalised(flow, unroll):
    flow = flow.clone(unroll=unroll)
    x = batch()
    # `init` encodes.
    encoding, variables = jax.jit(flow.init_with_output)(jax.random.key(0), x)
    levels = encoding.levels
    # The first part of each step is its ActNorm; its input is the level before.
    stacked = variables["params"]["stack"]["step"]["parts_0"]
    for i, before in enumerate((x, *levels[:-1])):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], stacked)
        y, _ = ActNorm().apply({"params": own}, before, method="forward")
        np.testing.assert_allclose(np.mean(y, axis=0), np.zeros(DIM), atol=2e-4)
        np.testing.assert_allclose(np.std(y, axis=0), np.ones(DIM), atol=2e-4)


def test_loaded_parameters_are_not_initialised_again():
    flow = TabularGlow(steps=2, hidden=8, depth=1)
    x = batch()
    variables = jax.jit(flow.init)(jax.random.key(0), x)
    # Every collection may be written here, and none is.
    encode = jax.jit(lambda v, x: flow.apply(v, x, method="encode", mutable=True))
    whole, after = encode(variables, 5.0 * x)
    jax.tree.map(np.testing.assert_array_equal, dict(after), dict(variables))
    other, _ = encode(variables, (5.0 * x).at[2:].mul(3.0))
    np.testing.assert_allclose(whole.z[0][:2], other.z[0][:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "plu",
    [
        pytest.param(False, id="full", marks=pytest.mark.slow),
        pytest.param(True, id="plu"),
    ],
)
def test_rolled_and_unrolled_stacks_share_parameters(plu):
    flow = TabularGlow(steps=2, hidden=8, depth=1, plu=plu, unroll=1)
    case = laws.Case("rolled", flow, (DIM,), start=False)

    @functools.partial(jax.jit, static_argnums=0)
    def run(flow, variables, x):
        first = flow.init(jax.random.key(0), x)
        there = flow.apply(variables, x, method="encode")
        return first, there, flow.apply(variables, (x,), method="decode")

    rolled, unrolled = (
        run(f, case.variables, case.data()) for f in (flow, flow.clone(unroll=None))
    )
    laws.assert_close(rolled, unrolled, 1e-5, "rolled and unrolled")


def test_steps_of_a_stack_start_apart():
    flow = TabularGlow(steps=2, hidden=8, depth=1, plu=True)
    variables = jax.jit(flow.init)(jax.random.key(0), batch())
    step = variables["params"]["stack"]["step"]
    for stacked in (
        step["parts_1"]["lower"],
        step["parts_2"]["conditioner"]["dense_0"]["kernel"],
    ):
        assert stacked.shape[0] == 2
        assert not np.allclose(stacked[0], stacked[1])
