"""Parameter counts of Baranchuk et al. (2021), table 1, to the unit."""

import functools

import jax
import jax.numpy as jnp
import pytest

from fdnf.flows.srflow import SRFlow
from fdnf.ops import trees
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent

TEACHERS = {4: SRFlow(), 8: SRFlow(scale=8, levels=4, taps=(1, 3, 5, 7))}
STUDENTS = {
    4: SRFlowStudent(),
    8: SRFlowStudent(
        scale=8,
        widths=(18, 48, 192, 384),
        base_blocks=1,
        base_rdbs=3,
        base_convs=5,
        rdbs=1,
        convs=3,
        taps=(1, 3, 5, 7),
        inherits=False,
    ),
}
# The released flow holds a convolution `f` of 320 to 96 channels that nothing calls.
UNUSED = 9 * 320 * 96 + 96
EVENT = (160, 160, 3)
# Channels of each level's steps.
CHANNELS = {4: (12, 24, 96), 8: (12, 24, 48, 192)}


@functools.cache
def shapes(model, scale):
    x = jnp.zeros((1, *EVENT))
    cond = jnp.zeros((1, EVENT[0] // scale, EVENT[1] // scale, 3))
    if isinstance(model, SRFlow):
        args = (x, cond)
    else:
        parts = model.latent_shapes(EVENT)
        args = (tuple(jnp.zeros((1, *part)) for part in parts), cond)
    return jax.eval_shape(model.init, jax.random.key(0), *args)["params"]


def count(model, scale, part=None):
    params = shapes(model, scale)
    return trees.parameter_count(params if part is None else params[part])


@pytest.mark.parametrize(("scale", "published"), [(4, 39_541_811), (8, 50_821_891)])
def test_teacher(scale, published):
    assert UNUSED == 276_576
    assert count(TEACHERS[scale], scale) + UNUSED == published
    encoder = {4: 16_697_987, 8: 16_734_915}[scale]
    assert count(TEACHERS[scale], scale, "encoder") == encoder


@pytest.mark.parametrize(
    ("scale", "published", "encoder"),
    [(4, 20_393_177, 16_697_987), (8, 16_157_116, 2_946_691)],
)
def test_student(scale, published, encoder):
    assert count(STUDENTS[scale], scale) == published
    assert count(STUDENTS[scale], scale, "encoder") == encoder


@pytest.mark.parametrize("scale", [4, 8])
def test_rrdb(scale):
    # 16.70 M in print for scale 4; the encoder of the teacher, image and all.
    net = RRDBNet(scale=scale)
    assert count(net, scale) == count(TEACHERS[scale], scale, "encoder")
    own, theirs = shapes(net, scale), shapes(TEACHERS[scale], scale)
    assert jax.tree.map(jnp.shape, own["encoder"]) == jax.tree.map(
        jnp.shape, theirs["encoder"]
    )


def test_the_printed_count_of_scale_8_is_of_the_fused_model():
    # 50.84 M in print. Fusing the norms gives their convolutions biases and leaves
    # the norms behind as identities, which are counted; ours drops those, and keeps
    # inverses and log-determinants beside the weights.
    teacher = TEACHERS[8]
    steps, opening = teacher.steps, teacher.transitions
    linear = [c for c in CHANNELS[8] for _ in range(steps + opening)]
    convs = 4 * steps * teacher.levels
    fused = count(teacher, 8) + UNUSED + convs * teacher.hidden + sum(linear)
    assert fused == 50_843_243

    ours = count(teacher.clone(folded=True), 8)
    kept = sum(c * c + 1 for c in linear)
    identities = sum(2 * c for c in linear) + convs * 2 * teacher.hidden
    assert ours - kept + identities + UNUSED == fused
