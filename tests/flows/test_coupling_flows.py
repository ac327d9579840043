"""RealNVP and Glow of any transformer, partition, mixing and network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from fdnf.bijectors import transformers
from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.coupling import Shift, ShiftScale
from fdnf.bijectors.transformers import RationalQuadratic
from fdnf.flows import build
from fdnf.flows.affine import Affine
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.realnvp import MultiScaleRealNVP, RealNVP
from fdnf.losses import distillation
from tests import floats, laws

SPLINE = {"name": "spline", "bins": 3, "box": 2.0}
FLOW = RealNVP(
    3, (4,), transformer=SPLINE, partition="half", mixing="reverse", unroll=1
)
DIM = 5


@functools.cache
def parts():
    """Variables, data, their encoding, and the raw numbers of each block."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, DIM)), jnp.float32)
    variables = laws.drawn(FLOW, x, noise=0.6)

    @jax.jit
    def run(variables, x):
        raw = FLOW.apply(variables, x, method="block_parameters")
        return FLOW.apply(variables, x, method="encode"), raw

    return variables, x, *run(variables, x)


def test_a_block_maps_by_the_parameters_that_it_tells():
    variables, x, encoding, raw = parts()
    spline = transformers.make(SPLINE)
    assert [each.shape for each in raw] == [(4, spline.outputs, 3)] * 3
    norms = variables["params"]["stack"]["step"]["parts_0"]
    log_det = np.zeros(4)
    # Steps see the dimensions in turned order; levels are told in that of the data.
    for k, own in enumerate(raw):
        before = x if k == 0 else encoding.levels[k - 1]
        before = jnp.flip(before, -1) if k % 2 else before
        norm = {"params": jax.tree.map(lambda leaf, k=k: leaf[k], norms)}
        h, change = ActNorm().apply(norm, before)
        moved, log_slope = spline.forward(jnp.moveaxis(own, 1, 0), h[:, 2:])
        log_det += np.asarray(change + log_slope.sum(axis=-1))
        after = jnp.concatenate([h[:, :2], moved], axis=-1)
        after = jnp.flip(after, -1) if k % 2 else after
        floats.assert_close(encoding.levels[k], after, rtol=1e-5)
    floats.assert_close(encoding.log_det, log_det, rtol=1e-5)


def test_one_row_alone_is_mapped_as_among_others():
    variables, x, encoding, _ = parts()
    alone = jax.jit(FLOW.apply)(variables, x[:1])
    floats.assert_close(alone.z[0], encoding.z[0][:1], rtol=1e-5)
    floats.assert_close(alone.log_prob, encoding.log_prob[:1], rtol=1e-5)


def test_data_far_outside_the_box_pass_both_ways():
    variables, x, _, _ = parts()
    far = x.at[0].set(1e6).at[1].set(-1e6).at[2, 0].set(1e6)

    @jax.jit
    def run(x):
        own = FLOW.apply(variables, x, method="encode")
        back = FLOW.apply(variables, own.z, method="decode").x
        slope = jax.grad(lambda x: FLOW.apply(variables, x).log_prob.sum())(x)
        return own, back, slope

    own, back, slope = run(far)
    assert np.all(np.isfinite(own.log_prob))
    assert np.all(np.isfinite(slope))
    # What is conditioned on 1e6 hangs on digits that float32 has not.
    whole = np.asarray([0, 1, 3])
    np.testing.assert_allclose(back[whole], far[whole], rtol=1e-4, atol=1e-3)


def test_a_student_of_half_the_couplings_learns_its_teachers_levels():
    teacher = FLOW.clone(steps=4, embedding=(4,), conditioner="residual", hidden=(6,))
    student = teacher.clone(steps=2)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(64, 3)), jnp.float32)
    cond = jnp.asarray(np.random.default_rng(2).normal(size=(64, 2)), jnp.float32)
    theirs = laws.drawn(teacher, x, cond, noise=0.4)
    own = laws.drawn(student, x, cond, noise=0.1)
    optimizer = optax.adam(0.02)

    def loss(variables):
        flows = (student, teacher, variables, theirs)
        return distillation.ilkd(*flows, x, cond, pairs="ratio")

    @jax.jit
    def train(own):
        def step(carry, _):
            variables, state = carry
            (value, _), slope = jax.value_and_grad(loss, has_aux=True)(variables)
            change, state = optimizer.update(slope, state)
            return (optax.apply_updates(variables, change), state), value

        return jax.lax.scan(step, (own, optimizer.init(own)), length=150)[1]

    values = np.asarray(train(own))
    assert np.all(np.isfinite(values))
    assert values[-1] < 0.5 * values[0], (values[0], values[-1])


def test_blocks_of_images_and_flows_without_any():
    x = jnp.zeros((2, 4, 4, 2))

    def shapes(flow, x):
        variables = jax.eval_shape(flow.init, jax.random.key(0), x)
        apply = functools.partial(flow.apply, method="block_parameters")
        return [each.shape for each in jax.eval_shape(apply, variables, x)]

    assert shapes(Glow(2, 1, 4), x) == [(2, 2, 2, 2, 4), (2, 2, 1, 1, 8)]
    outputs = RationalQuadratic(bins=3).outputs
    flow = MultiScaleRealNVP(2, 1, 4, 1, transformer=SPLINE)
    found = shapes(flow, x)
    assert found[:3] == [(2, outputs, 4, 4, 2)] * 2 + [(2, outputs, 2, 2, 4)]
    assert len(found) == 6
    with pytest.raises(ValueError, match="Affine has no blocks with a transformer"):
        shapes(Affine(), x[:, 0, 0])


def test_transformers_of_configs():
    args = {"transformer": {"name": "spline", "bins": 4}, "hidden": [8, 8]}
    config = ConfigDict({"name": "realnvp", "args": args})
    built = build.build(config)
    assert built == RealNVP(hidden=(8, 8), transformer=RationalQuadratic(bins=4))
    hash(built)
    # Runs that were stored by the older name.
    old = ConfigDict({"name": "glow", "args": {"transform": "additive"}})
    assert build.build(old) == Glow(transformer="additive")
    # What "affine" and "additive" are in couplings, each flow's bounds in it.
    assert RealNVP().transformer == ShiftScale("tanh")
    assert RealNVP(transformer="additive").transformer == Shift()
    small = {"name": "affine", "bound": 2.0}
    assert RealNVP(transformer=small).transformer == ShiftScale("tanh", bound=2.0)
    assert TabularGlow().transformer == ShiftScale("sigmoid")
    # A name waits for `floor`, which may be set later.
    assert Glow().clone(floor=1e-2).transformer == "affine"


@pytest.mark.parametrize(
    ("flow", "settings", "match"),
    [
        (RealNVP, {"transformer": "cubic"}, "transformer is 'cubic': expected one"),
        (Glow, {"transformer": {"name": "spline", "knots": 3}}, "has no 'knots'"),
        (TabularGlow, {"transformer": 3}, "transformer is 3: expected one of"),
        (RealNVP, {"partition": "thirds"}, r"RealNVP\(partition='thirds'\): expected"),
        (RealNVP, {"mixing": "shuffle"}, r"RealNVP\(mixing='shuffle'\): expected"),
        (RealNVP, {"mixing": "reverse"}, 'moves the same ones.*partition="half"'),
    ],
)
def test_settings_that_cannot_be(flow, settings, match):
    with pytest.raises(ValueError, match=match):
        flow(**settings)
