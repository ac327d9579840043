"""Conditions in flows: one for all rows, embedded, and images at every level."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import surgery
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.maf import MAF
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import MultiScaleRealNVP, RealNVP
from fdnf.losses import density, distillation
from fdnf.ops import squeeze
from tests import floats, laws

EMBEDDED = RealNVP(2, (4,), partition="half", embedding=(6, 3), unroll=1)
DRAW = np.random.default_rng(0)
X = jnp.asarray(DRAW.normal(size=(4, 3)), jnp.float32)
COND = jnp.asarray(DRAW.normal(size=(4, 2)), jnp.float32)
IMAGES = jnp.asarray(DRAW.normal(size=(2, 8, 8, 1)), jnp.float32)


@functools.cache
def variables_of(flow):
    return laws.drawn(flow, X, COND, noise=0.6)


@functools.partial(jax.jit, static_argnums=0)
def encode(flow, variables, x, cond):
    return flow.apply(variables, x, cond, method="encode")


@functools.partial(jax.jit, static_argnums=0)
def sample(flow, variables, cond):
    return flow.apply(variables, jax.random.key(1), X.shape, 1.0, cond, method="sample")


def test_one_condition_counts_for_every_row():
    variables = variables_of(EMBEDDED)
    rows = jnp.tile(COND[:1], (4, 1))
    expected, drawn = (f(EMBEDDED, variables, *a, rows) for f, a in BOTH)
    for cond in (COND[:1], COND[0], COND[0].tolist()):
        found, again = (f(EMBEDDED, variables, *a, cond) for f, a in BOTH)
        floats.assert_close(found.log_prob, expected.log_prob, rtol=1e-5)
        floats.assert_close(again, drawn, rtol=1e-5)
    other = encode(EMBEDDED, variables, X, COND[1])
    assert np.max(np.abs(other.log_prob - expected.log_prob)) > 1e-2


BOTH = ((encode, (X,)), (sample, ()))


def test_an_embedding_is_one_network_before_all_blocks():
    params = variables_of(EMBEDDED)["params"]
    assert params["embedder"]["dense_0"]["kernel"].shape == (2, 6)
    assert params["embedder"]["dense_1"]["kernel"].shape == (6, 3)
    # Each coupling sees one of three dimensions, and three features.
    net = params["stack"]["step"]["parts_1"]["conditioner"]
    assert net["dense_0"]["kernel"].shape == (2, 4, 4)
    h = COND
    for layer in ("dense_0", "dense_1"):
        h = jax.nn.silu(
            h @ params["embedder"][layer]["kernel"] + params["embedder"][layer]["bias"]
        )
    plain = EMBEDDED.clone(embedding=None)
    own = {"params": {k: v for k, v in params.items() if k != "embedder"}}
    expected = encode(plain, own, X, h).log_prob
    found = encode(EMBEDDED, variables_of(EMBEDDED), X, COND).log_prob
    floats.assert_close(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "flow",
    [
        EMBEDDED,
        NICE(3, (4,), embedding=(3,)),
        TabularGlow(1, 4, 1, embedding=[3]),
    ],
)
def test_an_embedding_wants_vectors_of_the_width_it_was_made_with(flow):
    name = type(flow).__name__
    variables = jax.eval_shape(flow.init, jax.random.key(0), X, COND)

    def refused(cond, match, run=flow.apply, first=variables):
        with pytest.raises(ValueError, match=f"{name}.*{match}"):
            jax.eval_shape(run, first, X, cond)

    refused(COND[:, :1], "condition of shape")
    refused(jnp.zeros((4, 3)), "condition of shape")
    refused(None, "without a condition")
    refused(None, "embedding.*no condition", flow.init, jax.random.key(0))
    with pytest.raises(ValueError, match=rf"{name}\(embedding=\(\)\)"):
        type(flow)(embedding=())


def test_an_embedded_glow_folds():
    flow = Glow(1, 1, 4, plu=False, embedding=(3,))
    variables = laws.drawn(flow, IMAGES, COND[:2], noise=0.2)
    expected = encode(flow, variables, IMAGES, COND[:2]).log_prob
    found = encode(*surgery.fold(flow, variables), IMAGES, COND[:2]).log_prob
    floats.assert_close(found, expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"Glow\(embedding=\(3,\)\) with one of shape"):
        jax.eval_shape(flow.init, jax.random.key(0), IMAGES, IMAGES)


# Both take such a condition by the same lines, `flows.multiscale`.
LEVELS = [
    Glow(2, 1, 4),
    pytest.param(MultiScaleRealNVP(2, 1, 4, 1), marks=pytest.mark.slow),
]
over_levels = pytest.mark.parametrize(
    "flow", LEVELS, ids=lambda flow: type(flow).__name__
)


def outcome(flow, side, channels, made=None):
    """What `init`, or `encode` of a flow made so, says of images of that side."""
    cond = jnp.zeros((2, side, side, channels))
    if made is None:
        return jax.eval_shape(flow.init, jax.random.key(0), IMAGES, cond)
    return jax.eval_shape(flow.apply, made, IMAGES, cond)


@over_levels
def test_images_of_these_sizes_condition_every_level(flow):
    smallest = 2 if isinstance(flow, Glow) else 4
    sizes = [side for side in (2, 4, 8) if side >= smallest]
    made = {side: outcome(flow, side, 3) for side in sizes}
    for side in sizes:
        assert outcome(flow, side, 3, made[side]).log_det.shape == (2,)
        for other in sizes:
            if other != side:
                with pytest.raises(ValueError, match=f"{type(flow).__name__} .*chann"):
                    outcome(flow, other, 3, made[side])
        with pytest.raises(ValueError, match="channels"):
            outcome(flow, side, 4, made[side])
    for side in (1, 3, 12):
        with pytest.raises(ValueError, match=type(flow).__name__):
            outcome(flow, side, 3)


def test_a_condition_of_images_moves_every_level_and_the_flow_inverts():
    flow = Glow(2, 1, 4, plu=False)
    cond = jnp.asarray(DRAW.normal(size=(2, 8, 8, 1)), jnp.float32)
    variables = laws.drawn(flow, IMAGES, cond, noise=0.3)

    @jax.jit
    def run(cond):
        there = flow.apply(variables, IMAGES, cond, method="encode")
        back = flow.apply(variables, there.z, cond, method="decode")
        # Halved by hand, it is the same condition.
        again = flow.apply(variables, IMAGES, squeeze.squeeze(cond), method="encode")
        return there, back, again

    there, back, again = run(cond)
    np.testing.assert_allclose(back.x, IMAGES, rtol=0, atol=1e-4)
    floats.assert_close(again.log_prob, there.log_prob, rtol=1e-5)
    other, *_ = run(cond.at[:, 7, 7].add(3.0))
    for one, two in zip(there.levels, other.levels, strict=True):
        assert np.max(np.abs(one - two)) > 1e-2


def losses(cond):
    """Shapes of losses of a student and its teacher, both of which embed."""
    student = RealNVP(1, (4,), unroll=1, embedding=(3,))
    teacher = MAF(1, (4,), unroll=1, embedding=(3,))
    own, theirs = (
        jax.eval_shape(flow.init, jax.random.key(0), X, COND)
        for flow in (student, teacher)
    )

    def values(own, theirs):
        flows = (student, teacher, own, theirs)
        return (
            distillation.nll(student, own, X, cond)[0],
            distillation.lkd(*flows, X, cond)[0],
            distillation.skd(*flows, (X,), cond)[0],
            density.reverse_kl(*flows, (X,), cond)[0],
        )

    return jax.eval_shape(values, own, theirs)


def test_losses_take_one_condition_and_refuse_what_does_not_fit():
    for cond in (COND[:1], COND[0]):
        assert [value.shape for value in losses(cond)] == [()] * 4
    wrong = [
        (None, "RealNVP without a condition"),
        (jnp.ones((4, 3)), r"expected \[4, 2\].*or one row for all"),
        (jnp.ones((3, 2)), r"expected \[4, 2\].*or one row for all"),
        (jnp.ones((4, 2, 1)), r"expected \[batch, features\]"),
    ]
    for cond, match in wrong:
        with pytest.raises(ValueError, match=match):
            losses(cond)
