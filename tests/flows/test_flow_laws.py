"""Float32 round trips of deep flows, far from their initial weights."""

import jax
import numpy as np
import pytest

from fdnf.flows.glow import TabularGlow
from fdnf.flows.maf import MAF
from tests import laws

DEEP = [
    laws.Case("glow_32_steps", TabularGlow(steps=32, hidden=32, unroll=1), noise=0.1),
    laws.Case("maf_10_blocks", MAF(steps=10, hidden=(32, 32), unroll=1), noise=0.3),
]


@pytest.mark.parametrize("dim", [pytest.param(8, marks=pytest.mark.slow), 21])
@pytest.mark.parametrize("case", DEEP, ids=lambda case: case.name)
def test_round_trip_of_a_deep_flow(case, dim):
    case = laws.Case(case.name, case.module, (dim,), noise=case.noise)
    x = case.data(batch=64)
    there = jax.jit(case.forward)(case.variables, x, None)
    back = jax.jit(case.inverse)(case.variables, there.value, None)
    assert np.max(np.abs(there.value - x)) > 1.0, "the flow does nothing"
    assert np.max(np.abs(back.value - x)) < 1e-4
    np.testing.assert_allclose(there.log_det, -back.log_det, atol=1e-3)
