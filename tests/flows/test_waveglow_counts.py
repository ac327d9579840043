"""Parameter counts of Baranchuk et al. (2021), tables 2 and 4, to the unit."""

import jax
import jax.numpy as jnp
import pytest

from fdnf.flows.waveglow import WaveGlow
from fdnf.ops import trees
from fdnf.students.wave import (
    WaveAffineStudent,
    WaveFlowStudent,
    WaveNetStudent,
    WaveWideFlowStudent,
)

UPSAMPLER = 6_553_680
MEL = jax.ShapeDtypeStruct((2, 8, 80), jnp.float32)
# Weight-normalised convolutions have one more weight an output channel.
NORMALISED = ("start", "cond", "dilated_", "res_skip_")


def shapes(model, given):
    return jax.eval_shape(model.init, jax.random.key(0), given, MEL)


def test_teacher():
    x = jax.ShapeDtypeStruct((2, 2048, 1), jnp.float32)
    variables = shapes(WaveGlow(), x)
    assert set(variables) == {"params"}
    params = variables["params"]
    assert trees.parameter_count(params) == 87_731_816
    assert trees.parameter_count(params["upsampler"]) == UPSAMPLER
    gains = sum(
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if path[-1].key == "bias" and path[-2].key.startswith(NORMALISED)
    )
    assert 87_731_816 + gains == 87_879_272


@pytest.mark.parametrize(
    ("student", "count"),
    [
        (WaveNetStudent(channels=128), 9_529_992),
        (WaveNetStudent(), 6_348_776),
        (WaveNetStudent(blocks=2), 3_175_208),
        (WaveFlowStudent(), 6_277_952),
        (WaveWideFlowStudent(), 6_367_592),
        (WaveAffineStudent(), 6_282_592),
    ],
    ids=["v1", "v2", "v3", "flow", "wide_flow", "affine"],
)
def test_student(student, count):
    z = tuple(jax.ShapeDtypeStruct((2, 256, c), jnp.float32) for c in (2, 2, 4))
    assert student.latent_shapes((2048, 1)) == WaveGlow().latent_shapes((2048, 1))
    variables = shapes(student, z)
    assert trees.parameter_count(variables["params"]) == count
    assert trees.parameter_count(variables["constants"]) == UPSAMPLER
