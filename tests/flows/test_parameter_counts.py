"""Numbers of parameters, as published."""

import functools

import jax
import jax.numpy as jnp
import pytest

from configs import glow_celeba64, glow_cifar10
from fdnf.flows import build
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.maf import MAF
from fdnf.flows.srflow import SRFlow
from fdnf.flows.waveglow import WaveGlow
from fdnf.flows.wavenet import GaussianWaveNet, WaveIAF
from fdnf.ops import trees
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent
from fdnf.students.wave import (
    WaveAffineStudent,
    WaveFlowStudent,
    WaveNetStudent,
    WaveWideFlowStudent,
)

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


# In CI these are the configs' models, below.
@pytest.mark.slow
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


UPSAMPLER = 6_553_680
MEL = jax.ShapeDtypeStruct((2, 8, 80), jnp.float32)
# Weight-normalised convolutions have one more weight an output channel.
NORMALISED = ("start", "cond", "dilated_", "res_skip_")


def shapes_of_waveglow(model, given):
    return jax.eval_shape(model.init, jax.random.key(0), given, MEL)


def test_teacher_of_waveglow():
    x = jax.ShapeDtypeStruct((2, 2048, 1), jnp.float32)
    variables = shapes_of_waveglow(WaveGlow(), x)
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
def test_student_of_waveglow(student, count):
    z = tuple(jax.ShapeDtypeStruct((2, 256, c), jnp.float32) for c in (2, 2, 4))
    assert student.latent_shapes((2048, 1)) == WaveGlow().latent_shapes((2048, 1))
    variables = shapes_of_waveglow(student, z)
    assert trees.parameter_count(variables["params"]) == count
    assert trees.parameter_count(variables["constants"]) == UPSAMPLER


def serial_count(layers: int, channels: int, taps: int) -> int:
    """Of one network of `GaussianWaveNet` under 80 mels, layer by layer."""
    front = 32 * channels + channels
    dilated = taps * channels * 2 * channels + 2 * channels
    context = 80 * 2 * channels
    out = channels * 2 * channels + 2 * channels
    last = channels * channels + channels
    ends = channels * channels + channels + 2 * channels + 2
    return front + layers * (dilated + context) + (layers - 1) * out + last + ends


@pytest.mark.parametrize(
    ("flow", "count"),
    [
        # Two cycles of ten layers of 128 channels: ClariNet's teacher.
        (GaussianWaveNet(), serial_count(20, 128, 2)),
        # Six flows of ten layers of 64 channels: Huang et al., kernel 2; ClariNet's
        # open implementation, kernel 3.
        pytest.param(*(WaveIAF(), 6 * serial_count(10, 64, 2)), marks=pytest.mark.slow),
        (WaveIAF(taps=3), 6 * serial_count(10, 64, 3)),
    ],
    ids=["teacher", "huang", "clarinet"],
)
def test_gaussian_wavenets(flow, count):
    variables = shapes_of_waveglow(flow, jax.ShapeDtypeStruct((2, 512, 1), jnp.float32))
    own, upsampled = (
        {name: tree for name, tree in variables["params"].items() if chosen(name)}
        for chosen in ("stack".__eq__, "upsampler".__eq__)
    )
    assert trees.parameter_count(own) == count
    assert trees.parameter_count(upsampled) == UPSAMPLER
