"""SRFlow's student: what moves it, what it inherits, what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.flows.srflow import SRFlow
from fdnf.students import build
from fdnf.students.srflow import SRFlowStudent
from tests import laws

ENCODER = {
    "features": 4,
    "blocks": 2,
    "growth": 2,
    "rdbs": 1,
    "convs": 1,
    "taps": (1,),
}
BASE = {"base_blocks": 1, "base_rdbs": 1, "base_convs": 2, "base_growth": 2}
STUDENT = SRFlowStudent(widths=(6, 8, 12), **BASE, **ENCODER)
HR, LR = (2, 16, 16, 3), (2, 4, 4, 3)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=shape), jnp.float32)


@functools.cache
def first():
    z = STUDENT.draw(jax.random.key(1), HR)
    return jax.jit(STUDENT.init)(jax.random.key(0), z, draw(*LR))


@functools.cache
def variables():
    return laws.perturb(first(), 0.1)


apply = jax.jit(STUDENT.apply)


def test_the_image_depends_on_every_latent_and_on_the_condition():
    z, cond = STUDENT.draw(jax.random.key(2), HR), draw(*LR, seed=1)
    x = apply(variables(), z, cond)
    assert x.shape == HR
    assert x.dtype == jnp.float32
    for i in range(len(z)):
        moved = (*z[:i], z[i].at[0].add(1.0), *z[i + 1 :])
        other = apply(variables(), moved, cond)
        assert np.max(np.abs(other[0] - x[0])) > 1e-3
        np.testing.assert_allclose(other[1], x[1], atol=1e-6)
    other = apply(variables(), z, cond.at[0].set(1.0 - cond[0]))
    assert np.max(np.abs(other[0] - x[0])) > 1e-3
    np.testing.assert_allclose(other[1], x[1], atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "widths"),
    [(4, (6, 24, 96)), (8, (18, 48, 192, 384)), (4, (4, 8)), (2, (8,))],
)
def test_its_latents_are_the_flows(scale, widths):
    student = SRFlowStudent(scale=scale, widths=widths)
    flow = SRFlow(scale=scale, levels=len(widths))
    assert student.latent_shapes((32, 48, 3)) == flow.latent_shapes((32, 48, 3))


def test_norms_start_with_the_statistics_of_the_batch():
    z, cond = STUDENT.draw(jax.random.key(1), HR), draw(*LR)
    started = functools.partial(STUDENT.apply, capture_intermediates=True)
    _, state = jax.jit(started)(first(), z, cond)
    for level in (1, 2, 3):
        (h,) = state["intermediates"][f"mix_{level}"]["__call__"]
        np.testing.assert_allclose(np.mean(h, axis=(0, 1, 2)), 0.0, atol=1e-3)
        np.testing.assert_allclose(np.std(h, axis=(0, 1, 2)), 1.0, atol=0.05)


def teacher(**settings):
    flow = SRFlow(**{**ENCODER, **settings}, steps=1, transitions=1, hidden=2)
    args = (jax.random.key(5), jnp.zeros(HR), jnp.zeros(LR))
    shapes = jax.eval_shape(flow.init, *args)
    rng = np.random.default_rng(5)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes
    )


def test_it_inherits_the_encoder_and_nothing_else():
    own, theirs = variables(), teacher()
    found = STUDENT.inherit(own, theirs)
    equal = functools.partial(jax.tree.map, np.testing.assert_array_equal)
    equal(found["params"]["encoder"], theirs["params"]["encoder"])
    for name in own["params"]:
        if name != "encoder":
            equal(found["params"][name], own["params"][name])
    assert jax.tree.structure(found) == jax.tree.structure(own)
    # Copies: the student's buffers are given away in training.
    pairs = zip(
        jax.tree.leaves(found["params"]["encoder"]),
        jax.tree.leaves(theirs["params"]["encoder"]),
        strict=True,
    )
    assert all(
        one.unsafe_buffer_pointer() != two.unsafe_buffer_pointer() for one, two in pairs
    )


def test_an_encoder_that_differs_is_refused_or_left():
    own, theirs = variables(), teacher(rdbs=2)
    with pytest.raises(ValueError, match="set inherits=False"):
        STUDENT.inherit(own, theirs)
    assert STUDENT.clone(inherits=False).inherit(own, theirs) is own


@pytest.mark.parametrize(
    ("z", "cond", "message"),
    [
        (STUDENT.draw(jax.random.key(0), HR)[1:], jnp.zeros(LR), "latents of shapes"),
        (STUDENT.draw(jax.random.key(0), HR), None, "a condition of None"),
        (STUDENT.draw(jax.random.key(0), HR), draw(2, 6, 6, 3), "expected .*12, 12, 6"),
    ],
)
def test_what_does_not_fit_is_refused(z, cond, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(STUDENT.init, jax.random.key(0), z, cond)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (6, 24, 96, 384)}, "expected 1 to 3"),
        ({"widths": ()}, "expected 1 to 3"),
        ({"widths": (5, 24, 96)}, "level 1 has 5 channels and 6 of its latent, 11"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SRFlowStudent(**settings)


def test_events_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="sides that 8 divides"):
        STUDENT.latent_shapes((12, 16, 3))
    with pytest.raises(ValueError, match=r"expected \(height, width, 3\)"):
        STUDENT.latent_shapes((16, 16, 1))


def test_a_config_names_it():
    args = {"widths": (6, 8, 12), **BASE, **ENCODER}
    config = ConfigDict({"name": "srflow_student", "args": args})
    assert build.build(config) == STUDENT
