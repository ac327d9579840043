"""WaveGlow's students: what they see, and what they have from their teacher."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.bijectors.combinators import Chain
from fdnf.bijectors.coupling import WaveCoupling
from fdnf.bijectors.invertible_conv import RotationConv
from fdnf.flows import surgery
from fdnf.flows.waveglow import WaveGlow
from fdnf.nets.wavenet import WaveNet
from fdnf.ops import linear_prediction, mel
from fdnf.students import build
from fdnf.students.wave import AffineBlock

TIME, FRAMES, MELS = 16, 4, 2
SMALL = {
    "layers": 2,
    "channels": 4,
    "blocks": 2,
    "latents": (1, 1, 2),
    "hop": 4,
    "upsampler_taps": 8,
}
NAMES = ("wavenet", "wave_flow", "wave_wide_flow", "wave_affine")
TEACHER = WaveGlow(3, 1, 1, 4, layers=1, channels=2, hop=4, upsampler_taps=8)
over_students = pytest.mark.parametrize("name", NAMES)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


Z = tuple(draw(2, 4, c, seed=c) for c in (1, 1, 2))
MEL = draw(2, FRAMES, MELS, seed=9)


def student_of(name, **changed):
    return build.build(ConfigDict({"name": name, "args": {**SMALL, **changed}}))


def drawn(shapes, seed=1):
    """Weights of the usual size, from shapes alone: no program to compile."""
    rng = np.random.default_rng(seed)

    def one(leaf):
        fan = leaf.shape[-2] if leaf.ndim > 2 else 4
        return jnp.asarray(rng.normal(size=leaf.shape) / fan**0.5, leaf.dtype)

    return jax.tree.map(one, shapes)


@pytest.fixture(scope="module")
def made():
    """Students with drawn weights, by name."""
    found = {}
    for name in NAMES:
        student = student_of(name)
        shapes = jax.eval_shape(student.init, jax.random.key(0), Z, MEL)
        assert set(shapes) == {"params", "constants"}
        found[name] = student, drawn(shapes)
    return found


@functools.partial(jax.jit, static_argnums=0)
def derived(student, variables, z, mel):
    """Output, and the gradient of a function of it by all arguments."""

    def size(variables, z, mel):
        x = student.apply(variables, z, mel)
        return jnp.sum(jnp.sin(x)), x

    by_all, x = jax.grad(size, (0, 1, 2), has_aux=True)(variables, z, mel)
    return x, by_all


@over_students
def test_every_latent_and_frame_counts(name, made):
    x, (_, *by_inputs) = derived(*made[name], Z, MEL)
    assert x.shape == (2, TIME, 1)
    assert all(np.all(leaf != 0) for leaf in jax.tree.leaves(by_inputs))


@over_students
def test_only_params_get_a_gradient(name, made):
    _, (found, *_) = derived(*made[name], Z, MEL)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(found["params"]))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(found["constants"]))


@over_students
def test_rows_do_not_touch(name, made):
    one, _ = derived(*made[name], Z, MEL)
    changed = tuple(part.at[1].add(1.0) for part in Z)
    two, _ = derived(*made[name], changed, MEL.at[1].add(1.0))
    np.testing.assert_array_equal(one[0], two[0])
    assert np.abs(one[1] - two[1]).max() > 1e-3


def test_latents_stand_side_by_side_the_top_first(made):
    # What the first linear map sees: top, then the latents put in later.
    student, variables = made["wavenet"]
    seen = []

    def capture(h, cond):
        seen.append(h)
        return h

    class Captured(type(student)):
        def _network(self, h, cond):
            return capture(h, cond)

    Captured(**SMALL).apply(variables, Z, MEL)
    np.testing.assert_array_equal(seen[0], jnp.concatenate([Z[2], Z[1], Z[0]], -1))


def test_latents_of_one_a_sample_are_folded(made):
    """As those of a WaveGlow are that stand in the same order."""
    grouped, variables = made["wavenet"]
    student = student_of("wavenet", latents=(1,), fold=4)
    assert student.group == grouped.group
    assert student.latent_shapes((TIME, 1)) == ((TIME, 1),)
    early, middle, top = Z
    flat = jnp.concatenate([top, middle, early], axis=-1).reshape(2, TIME, 1)
    found = student.apply(variables, (flat,), MEL)
    np.testing.assert_array_equal(found, grouped.apply(variables, Z, MEL))
    with pytest.raises(ValueError, match=r"length 4 divides, 4 times the sum of lat"):
        student.latent_shapes((TIME + 2, 1))


def test_the_networks_make_an_excitation(made):
    student, variables = made["wavenet"]
    mel_of = dict(rate=8000, n_fft=16, high=4000.0)
    predicting = student.clone(prediction=3, **mel_of)
    excitation = student.apply(variables, Z, MEL)
    settings = mel.Settings(hop=4, window=16, **mel_of)
    found = linear_prediction.predictor(excitation, MEL, 3, settings)
    expected = found.excited(excitation)
    np.testing.assert_array_equal(predicting.apply(variables, Z, MEL), expected)
    with pytest.raises(ValueError, match="expected the log-mel"):
        student_of("wavenet", prediction=3).init(jax.random.key(0), Z)


def test_draws_the_teachers_latents():
    own = student_of("wavenet").draw(jax.random.key(3), (2, TIME, 1), 0.6)
    theirs = TEACHER.draw(jax.random.key(3), (2, TIME, 1), 0.6)
    for one, two in zip(own, theirs, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("folded", [False, True])
def test_inherits_the_teachers_upsampler(folded, made):
    x = draw(2, TIME, 1)
    its = drawn(jax.eval_shape(TEACHER.init, jax.random.key(1), x, MEL))
    teacher = TEACHER
    if folded:
        teacher, its = surgery.fold(TEACHER, its)
    student, variables = made["wavenet"]
    taken = student.inherit(variables, its)
    assert taken["params"] is variables["params"]
    # Copies: the student's buffers are given away in training.
    for name, leaf in taken["constants"]["upsampler"].items():
        one, two = leaf, its["params"]["upsampler"][name]
        assert one.unsafe_buffer_pointer() != two.unsafe_buffer_pointer()
    own = student.apply(taken, MEL, TIME, method="upsample")
    theirs = teacher.apply(its, MEL, TIME, method="upsample")
    np.testing.assert_array_equal(own, theirs)
    before = student.apply(variables, MEL, TIME, method="upsample")
    assert np.abs(own - before).max() > 1e-3

    given = student_of("wavenet", upsampled=True).apply(variables, Z, theirs)
    np.testing.assert_allclose(given, student.apply(taken, Z, MEL), atol=1e-6)


def test_inherits_only_what_fits(made):
    student, variables = made["wavenet"]
    x = draw(2, TIME, 1)
    other = TEACHER.clone(upsampler_taps=12)
    its = jax.eval_shape(other.init, jax.random.key(0), x, MEL)
    with pytest.raises(ValueError, match=r"\(8, 2, 2\).*of the teacher.*\(12, 2, 2\)"):
        student.inherit(variables, its)
    with pytest.raises(ValueError, match="of the teacher None"):
        student.inherit(variables, {"params": {}})
    alone = jax.eval_shape(student.init, jax.random.key(0), Z)
    assert student.inherit(alone, its) is alone


def test_an_affine_block_is_the_flows_step_backwards():
    net = WaveNet(2, 3, zero=True)
    step = Chain((RotationConv(), WaveCoupling(net)))
    h, cond = draw(2, 5, 4), draw(2, 5, 3, seed=1)
    its = drawn(jax.eval_shape(step.init, jax.random.key(0), h, cond))["params"]
    inverse = np.linalg.inv(its["parts_0"]["weight"])
    params = {
        "net": its["parts_1"]["conditioner"],
        "linear": {"kernel": jnp.asarray(inverse.T[None]), "bias": jnp.zeros(4)},
    }
    expected, _ = step.apply({"params": its}, h, cond, method="inverse")
    found = AffineBlock(2, 3, 3, partition=True).apply({"params": params}, h, cond)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_without_a_partition_all_channels_move(made):
    shapes = {
        name: jax.tree.map(jnp.shape, made[name][1]["params"]["stack"]["net"])
        for name in NAMES[1:]
    }
    ends = {name: (p["start"], p["end"]) for name, p in shapes.items()}
    assert {n: (a["kernel"][-2], b["kernel"][-1]) for n, (a, b) in ends.items()} == {
        "wave_flow": (2, 4),
        "wave_wide_flow": (2, 4),
        "wave_affine": (4, 8),
    }


def test_goes_without_a_condition():
    student = student_of("wavenet", remat=False)
    x, variables = jax.eval_shape(student.init_with_output, jax.random.key(0), Z)
    assert x.shape == (2, TIME, 1)
    assert set(variables) == {"params"}


def test_refuses_what_does_not_fit(made):
    student, variables = made["wavenet"]
    with pytest.raises(ValueError, match=r"such as .*, \[batch, 4, 2\]\)"):
        student.apply(variables, Z[::-1], MEL)
    with pytest.raises(ValueError, match=r"4 divides, 1 times the sum of latents=\("):
        student.latent_shapes((18, 1))
    with pytest.raises(ValueError, match="3 frames of 4 samples for 16 samples"):
        student.apply(variables, Z, MEL[:, :3])
    with pytest.raises(ValueError, match=r"latents=\(\), blocks=2"):
        student_of("wavenet", latents=())


def test_init_makes_what_it_says():
    # Drawn weights stand in for it elsewhere.
    student = student_of("wavenet")
    variables = jax.jit(student.init)(jax.random.key(0), Z, MEL)
    kernels = variables["params"]["stack"]["net"]["dilated_1"]["kernel"]
    assert kernels.shape == (2, 3, 4, 8)
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1, "blocks start alike"
    assert np.std(variables["constants"]["upsampler"]["kernel"]) > 0
