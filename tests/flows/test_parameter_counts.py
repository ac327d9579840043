"""Parameter counts of Walton et al. (2023), tables 1 and 2, to the unit."""

import jax
import jax.numpy as jnp
import pytest

from fdnf.flows.glow import TabularGlow
from fdnf.flows.maf import MAF
from fdnf.ops import trees

DIMS = {"power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "bsds300": 63}
MODELS = {
    "glow_student": TabularGlow(steps=3, hidden=32),
    "glow_teacher": TabularGlow(steps=5, hidden=64),
    "maf_student": MAF(steps=3, hidden=(32, 32)),
    "maf_teacher": MAF(steps=6, hidden=(32, 32)),
}
COUNTS = {
    "glow_student": (13_794, 14_184, 17_355, 24_945, 34_365),
    "glow_teacher": (86_670, 87_800, 96_285, 114_215, 134_715),
    "maf_student": (5_028, 5_616, 9_438, 15_906, 21_786),
    "maf_teacher": (10_056, 11_232, 18_876, 31_812, 43_572),
}
CASES = [
    pytest.param(model, DIMS[data], count, id=f"{model}_{data}")
    for model, counts in COUNTS.items()
    for data, count in zip(DIMS, counts, strict=True)
]


@pytest.mark.parametrize(("model", "dim", "count"), CASES)
def test_count_is_the_papers(model, dim, count):
    x = jax.ShapeDtypeStruct((2, dim), jnp.float32)
    variables = jax.eval_shape(MODELS[model].init, jax.random.key(0), x)
    assert set(variables) == {"params"}
    assert trees.parameter_count(variables["params"]) == count


def test_plu_counts_its_masked_halves():
    # 2 C^2 + C for each step instead of C^2: the released code's own count.
    flow = TabularGlow(steps=3, hidden=32, plu=True)
    x = jax.ShapeDtypeStruct((2, 6), jnp.float32)
    variables = jax.eval_shape(flow.init, jax.random.key(0), x)
    assert trees.parameter_count(variables["params"]) == 13_920
    assert set(variables) == {"params", "constants"}
