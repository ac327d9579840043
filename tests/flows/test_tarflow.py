"""The transformer autoregressive flow, and the parallel sampler of its blocks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors import transformers
from fdnf.flows import build
from fdnf.flows.tarflow import TarFlow, TarIAF
from fdnf.losses import guided
from fdnf.ops import trees
from tests import floats, laws

SIZES = {"layers": 1, "channels": 4, "heads": 2, "patch": 2, "unroll": 1}
TEACHER = TarFlow(3, **SIZES)
STUDENT = TarIAF.of(TEACHER)
EVENT = (4, 4, 1)


def images(rows=32):
    draw = np.random.default_rng(0).normal(size=(rows, *EVENT))
    return jnp.asarray(1.5 + 2.0 * draw, jnp.float32)


@functools.cache
def fresh():
    """A new teacher, whose blocks say the same of all tokens, and its inverse."""
    variables = first(TEACHER)[1]
    step = variables["params"]["stack"]["step"]
    turned = {"parts_0": {"bijector": step["parts_0"]}}
    return variables, {"params": {"stack": {"step": turned}}}


@functools.cache
def first(flow):
    """What `init` encodes, and the variables that it makes."""
    return jax.jit(flow.init_with_output)(jax.random.key(0), images())


def test_latents_of_a_new_flow_are_standard():
    for flow in (TEACHER, TarIAF(2, **SIZES)):
        encoding, _ = first(flow)
        (z,) = encoding.z
        assert z.shape == (32, *EVENT)
        assert abs(np.mean(z)) < 1e-3
        assert abs(np.std(z) - 1) < 1e-3
        assert len(encoding.levels) == flow.blocks


@pytest.mark.parametrize("blocks", [2, 3])
def test_levels_and_latents_are_in_the_order_of_the_data(blocks):
    """A block that scales each number by itself leaves it where it is."""
    flow = TEACHER.clone(blocks=blocks)
    shapes = jax.eval_shape(flow.init, jax.random.key(0), images())
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    zeros["params"]["stack"]["step"]["parts_0"]["net"]["last_bias"] += 0.5
    x, slope = images(2), np.exp(-5 * np.tanh(0.1))
    encoding = jax.jit(flow.apply)(zeros, x)
    for level in encoding.levels:
        x = (x - 0.5) * slope
        np.testing.assert_allclose(level, x, atol=1e-5)
    np.testing.assert_allclose(encoding.z[0], x, atol=1e-5)


def test_blocks_alternate_in_their_order():
    """The data's last token says nothing of others to one block, and the first to two.

    Levels, in the order of the data, depend on tokens before and after theirs.
    """
    x, variables = images(1), laws.drawn(TEACHER, images(2), noise=1.0)
    levels = jax.jit(
        jax.jacfwd(lambda x: jnp.stack(TEACHER.apply(variables, x).levels))
    )(x)
    # [blocks, rows of patches, columns, rows of patches, columns] of tokens.
    seen = np.abs(levels).reshape(3, 2, 2, 2, 2, 2, 2, 2, 2).max(axis=(2, 4, 6, 8))
    seen = seen.reshape(3, 4, 4) > 0
    np.testing.assert_array_equal(seen[0], np.tri(4))
    assert seen[1].all()


def test_a_student_has_its_teachers_blocks():
    assert STUDENT.transformer == transformers.Inverse(transformers.Affine(5.0))
    assert STUDENT == TarIAF(3, **SIZES, transformer="inverse")
    kinds = TEACHER.block_kind(), STUDENT.block_kind()
    assert kinds[0] == kinds[1]
    assert TarIAF.of(TEACHER, channels=8).channels == 8
    config = {"name": "inverse", "of": "affine"}
    assert STUDENT == TarIAF(3, **SIZES, transformer=config)
    bound = TEACHER.clone(bound=2.0)
    assert TarIAF.of(bound) == TarIAF(3, **SIZES, bound=2.0, transformer=config)


def test_a_student_that_is_the_inverse_has_nothing_to_learn():
    """Blocks of constant numbers are each other's inverse."""
    taught, own = fresh()
    x = images(4)
    terms = ("local", "path_x", "parameters", "kl")
    weights = dict.fromkeys(terms, 1.0)

    @jax.jit
    def run(taught, own):
        z = TEACHER.apply(taught, x).z
        back = STUDENT.apply(own, z, method="decode")
        flows = (STUDENT, TEACHER, own, taught)
        return back, guided.guided(*flows, x, z, weights=weights)

    back, (loss, aux) = run(taught, own)
    floats.assert_close(back.x, x, 1e-5)
    assert abs(loss) < 1e-4
    assert set(aux.terms) == {*terms, "rejected"}


def test_blocks_say_what_they_mapped_by():
    variables, x = laws.drawn(TEACHER, images(2), noise=1.0), images(2)

    @jax.jit
    def run(variables, x):
        encoding, blocks = TEACHER.apply(variables, x, method="encode_with_blocks")
        sides = jnp.stack([x, *encoding.levels])
        back = TEACHER.apply(variables, sides[1:], method="decode_blocks")
        told = TEACHER.apply(variables, x, method="block_parameters")
        return encoding, blocks, sides, back, told

    encoding, blocks, sides, back, told = run(variables, x)
    np.testing.assert_allclose(blocks.out, sides[1:], atol=1e-5)
    np.testing.assert_allclose(back.out, sides[:-1], atol=1e-4)
    np.testing.assert_allclose(back.parameters, blocks.parameters, atol=1e-4)
    np.testing.assert_allclose(blocks.log_det.sum(0), encoding.log_det, atol=1e-4)
    for k in range(3):
        mean, raw = jnp.moveaxis(blocks.parameters[k], 1, 0)
        np.testing.assert_allclose(
            (sides[k] - mean) * jnp.exp(-5 * jnp.tanh(raw / 5)), sides[k + 1], atol=1e-5
        )
        np.testing.assert_allclose(told[k], blocks.parameters[k], atol=1e-5)


def test_size_and_name():
    config = {"name": "tarflow", "args": {"blocks": 2, "layers": 3, "channels": 8}}
    flow = build.build(type("Config", (), config))
    x = jax.ShapeDtypeStruct((2, 5), jnp.float32)
    params = jax.eval_shape(flow.init, jax.random.key(0), x)["params"]
    # 12 n^2 + 13 n a layer; tokens of one number, five positions, two norms more.
    layer, ends = 12 * 64 + 13 * 8, 8 + 5 * 8 + 2 * 8 + 9 * 2
    assert trees.parameter_count(params) == 2 * (3 * layer + ends)
    assert isinstance(hash(flow), int)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: TarIAF.of(TEACHER, blocks=2), r"blocks=2\): the teacher has 3, and a"),
        (lambda: TarIAF.of(TEACHER, patch=1), r"patch=1\): the teacher has 2, and a"),
        (lambda: TarIAF.of(STUDENT), r"TarIAF.of\(TarIAF\): expected a TarFlow, whose"),
        (lambda: TEACHER.latent_shapes((4, 4)), r"TarFlow: tokens of events of shape"),
        (lambda: TEACHER.latent_shapes((4, 5, 1)), "patch=2 on 4 x 5 pixels"),
        (lambda: TEACHER.apply(fresh()[0], jnp.zeros((2, 4, 8, 1))), r"\[batch, 4, 4"),
        (lambda: TEACHER.apply(fresh()[0], jnp.zeros((2, 16))), r"\[batch, 4, 4, 1\]"),
        (lambda: TEACHER.clone(heads=3).init(jax.random.key(0), images(2)), "heads=3"),
        (lambda: TEACHER.clone(blocks=0).init(jax.random.key(0), images(2)), "least 1"),
    ],
)
def test_what_does_not_fit_is_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made()
