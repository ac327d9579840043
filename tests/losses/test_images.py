"""The losses on multi-scale flows: parts of levels, units, shared noise."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import types
from fdnf.flows.glow import Glow
from fdnf.losses import distillation
from fdnf.ops import trees
from tests import floats, laws

FLOW = Glow(2, 1, 4)
X = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 0.5, (4, 8, 8, 1)), jnp.float32)


@functools.cache
def both():
    """Variables of a student and of a teacher."""
    made = jax.jit(FLOW.init)(jax.random.key(0), X)
    return laws.perturb(made, 0.05, 0), laws.perturb(made, 0.05, 1)


@functools.cache
def encodings():
    """Of the student and of the teacher."""
    run = jax.jit(lambda variables: FLOW.apply(variables, X))
    return tuple(map(run, both()))


# A flow whose variables are what it says, so that each loss of encodings is compiled
# without the two Glows.
SAYS = types.ExternalFlow(encode=lambda encoding, x, cond=None: encoding)


def encoded():
    return SAYS, SAYS, *encodings()


def mean_gap(a, b):
    return float(np.mean(np.abs(np.asarray(a) - np.asarray(b))))


@pytest.mark.parametrize(
    ("parts", "cut"),
    [("passed", slice(None, 2)), ("both", slice(None))],
)
def test_ilkd_compares_parts(parts, cut):
    loss, aux = distillation.ilkd(*encoded(), X, parts=parts)
    mine, theirs = encodings()
    expected = [
        mean_gap(mine.levels[0][..., cut], theirs.levels[0][..., cut]),
        mean_gap(mine.levels[1], theirs.levels[1]),
    ]
    floats.assert_close(aux.per_level, expected, rtol=1e-5)
    floats.assert_close(loss, np.mean(expected), rtol=1e-5)


def test_ilkd_of_what_is_split_off():
    loss, _ = distillation.ilkd(*encoded(), X, parts="split", pairs=((0, 0),))
    mine, theirs = encodings()
    expected = mean_gap(mine.levels[0][..., 2:], theirs.levels[0][..., 2:])
    floats.assert_close(loss, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="level 1 of shape .* splits nothing off"):
        distillation.ilkd(*encoded(), X, parts="split")


def test_lkd_compares_the_top_or_all_latents():
    mine, theirs = encodings()
    top, _ = distillation.lkd(*encoded(), X)
    floats.assert_close(top, mean_gap(mine.z[-1], theirs.z[-1]), rtol=1e-5)
    everything, _ = distillation.lkd(*encoded(), X, parts="both")
    flat = [
        np.concatenate([np.asarray(z).reshape(4, -1) for z in e.z], axis=1)
        for e in (mine, theirs)
    ]
    floats.assert_close(everything, mean_gap(*flat), rtol=1e-5)


def test_skd_shares_the_noise_of_every_latent():
    mine, _ = both()
    z = FLOW.draw(jax.random.key(3), X.shape)
    skd = jax.jit(lambda z: distillation.skd(FLOW, FLOW, mine, mine, z))
    same, aux = skd(z)
    assert float(same) == pytest.approx(0.0, abs=1e-6)
    assert float(aux.terms["rejected"]) == 0.0
    # Noise of a split drawn anew would give another image.
    _, moved = skd((z[0] + 1.0, z[1]))
    assert mean_gap(moved.student.x, aux.student.x) > 0.01


def test_the_input_is_no_level():
    mine, _ = encodings()
    assert len(mine.levels) == 2
    for level in mine.levels:
        assert level.shape[1] < X.shape[1]


def test_bits_per_dim_is_nats_over_dim_ln2():
    student, teacher, mine, theirs = encoded()
    nats, _ = distillation.nll(student, mine, X)
    bits, _ = distillation.nll(student, mine, X, units="bits_per_dim")
    floats.assert_close(bits, nats / (64 * math.log(2)), rtol=1e-6)
    loss, aux = distillation.combined(
        student, teacher, mine, theirs, X, weights=(0.9, 0.1, 0.0), units="bits_per_dim"
    )
    floats.assert_close(aux.terms["nll"], bits, rtol=1e-5)
    floats.assert_close(loss, 0.9 * bits + 0.1 * aux.terms["ilkd"], rtol=1e-5)
    with pytest.raises(ValueError, match="unknown units 'bits'"):
        distillation.nll(student, mine, X, units="bits")


# In CI this is so of flows on vectors (`test_distillation`).
@pytest.mark.slow
def test_gradient_reaches_the_student_alone():
    mine, theirs = both()
    z = FLOW.draw(jax.random.key(3), X.shape, 0.7)

    (mine, own), (theirs, others) = map(trees.split_variables, (mine, theirs))

    def loss(mine, theirs):
        variables = (
            {"params": mine, "constants": own},
            {"params": theirs, "constants": others},
        )
        return distillation.combined(
            FLOW, FLOW, *variables, X, z, weights=(0.0, 1.0, 1.0)
        )[0]

    moved, fixed = jax.jit(jax.grad(loss, argnums=(0, 1)))(mine, theirs)
    assert max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(moved)) > 0
    assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(fixed))
