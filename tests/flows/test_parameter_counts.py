"""Parameter counts of Walton et al. (2023), tables 1, 2, 4 and 5, to the unit."""

import jax
import jax.numpy as jnp
import pytest

from configs import glow_celeba64, glow_cifar10
from fdnf.flows import build
from fdnf.flows.glow import Glow, TabularGlow
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


# Levels, steps, hidden; counted with 2 C^2 + C weights per 1x1 convolution. The 61.2 M
# that the paper prints for the CelebA teacher are those of an earlier model.
IMAGE_MODELS = {
    "cifar10_student": (Glow(3, 8, 512), 32, 11_040_528),
    "cifar10_teacher": (Glow(3, 32, 512), 32, 44_152_176),
    "celeba_student": (Glow(3, 16, 256), 64, 7_946_544),
    "celeba_teacher": (Glow(3, 32, 512), 64, 44_152_176),
    "celeba_teacher_61m": (Glow(4, 32, 512, "additive"), 64, 61_178_832),
}


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_count_of_image_glow_is_the_papers(name):
    flow, side, count = IMAGE_MODELS[name]
    x = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(flow.init, jax.random.key(0), x)
    assert set(variables) == {"params", "constants"}
    assert trees.parameter_count(variables["params"]) == count


def test_full_matrices_are_fewer():
    # The same student with C^2 weights per 1x1 convolution.
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    flow = Glow(3, 8, 512, plu=False)
    variables = jax.eval_shape(flow.init, jax.random.key(0), x)
    assert trees.parameter_count(variables["params"]) == 11_015_664


@pytest.mark.parametrize(
    ("config", "variant", "count"),
    [
        (glow_cifar10, "student", 11_040_528),
        (glow_cifar10, "teacher", 44_152_176),
        (glow_celeba64, "student", 7_946_544),
        (glow_celeba64, "teacher", 44_152_176),
        (glow_celeba64, "teacher,61m", 61_178_832),
    ],
)
def test_configs_build_these_models(config, variant, count):
    flow = build.build(config.get_config(variant).model)
    side = 32 if config is glow_cifar10 else 64
    x = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(flow.init, jax.random.key(0), x)
    assert trees.parameter_count(variables["params"]) == count
