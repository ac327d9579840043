"""WaveGlow: round trips under a mel, and where early latents leave."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.flows import build
from fdnf.flows.waveglow import WaveGlow
from tests import floats, laws

EVENT = (12, 1)
FRAMES, MELS = 4, 2
SMALL = {
    "flows": 3,
    "early_every": 1,
    "early_size": 1,
    "group": 4,
    "layers": 1,
    "channels": 3,
    "hop": 4,
    "upsampler_taps": 8,
}
FLOW = WaveGlow(**SMALL)


@dataclasses.dataclass(frozen=True)
class MelCase(laws.Case):
    """A flow on waveforms whose condition is a mel spectrogram."""

    def cond(self, seed=2, batch=laws.BATCH):
        draw = np.random.default_rng(seed).normal(size=(batch, FRAMES, MELS))
        return jnp.asarray(draw, jnp.float32)

    @functools.cached_property
    def first(self):
        init = jax.jit(self.module.init)
        with jax.enable_x64(False):
            return init(jax.random.key(0), self.data(), self.cond())

    @functools.cached_property
    def variables(self):
        return laws.drawn(self.module, self.data(), self.cond(), noise=self.noise)


CASE = MelCase("three_stages", FLOW, EVENT, noise=0.3)
TWO = MelCase("two_stages", FLOW.clone(flows=2), (8, 1), noise=0.3)


@functools.partial(jax.jit, static_argnums=0)
def encode(flow, variables, x, cond):
    return flow.apply(variables, x, cond)


@functools.partial(jax.jit, static_argnums=0)
def decode(flow, variables, z, cond):
    return flow.apply(variables, z, cond, method="decode")


# Two flows, of the laws, have all that these have but the depth.
@pytest.mark.slow
def test_round_trip_of_twelve_flows_in_float32():
    flow = WaveGlow(layers=1, channels=8, hop=16, upsampler_taps=32)
    case = MelCase("deep", flow, (64, 1), noise=0.4)
    x, cond = 0.2 * case.data(), case.cond()
    there = encode(flow, case.variables, x, cond)
    back = decode(flow, case.variables, there.z, cond)
    assert {leaf.dtype for leaf in jax.tree.leaves((there, back))} == {x.dtype}
    assert max(np.max(np.abs(part)) for part in there.z) > 1.5, "it does nothing"
    assert np.max(np.abs(back.x - x)) < 1e-4
    np.testing.assert_allclose(there.log_det, -back.log_det, atol=1e-3)


def test_goes_without_a_condition():
    shapes = jax.eval_shape(FLOW.init, jax.random.key(0), CASE.data())
    assert set(shapes["params"]) == {f"stages_{i}" for i in range(3)}
    net = shapes["params"]["stages_0"]["step"]["parts_1"]["conditioner"]
    assert "cond" not in net


def test_early_latents_are_the_leading_channels_between_stages():
    x, cond = CASE.data(), CASE.cond()
    found = encode(FLOW, CASE.variables, x, cond)
    assert [part.shape for part in found.z] == [(3, 3, 1), (3, 3, 1), (3, 3, 2)]
    assert [level.shape for level in found.levels] == [(3, 3, 4), (3, 3, 3), (3, 3, 2)]
    np.testing.assert_array_equal(found.z[0], found.levels[0][..., :1])
    np.testing.assert_array_equal(found.z[1], found.levels[1][..., :1])
    np.testing.assert_array_equal(found.z[2], found.levels[2])
    shapes = FLOW.latent_shapes(EVENT)
    assert shapes == tuple(part.shape[1:] for part in found.z)


def test_a_late_latent_does_not_touch_what_has_left_before():
    # d level_i / d z_j in decoding: early latents are put in front of the activation.
    z = tuple(CASE.data(5)[:, :3] * jnp.ones(k) for k in (1, 1, 2))
    usual = decode(FLOW, CASE.variables, z, CASE.cond()).levels
    other = (z[0] + 1.0, z[1], z[2])
    changed = decode(FLOW, CASE.variables, other, CASE.cond()).levels
    np.testing.assert_array_equal(usual[1], changed[1])
    np.testing.assert_array_equal(usual[0][..., 1:], changed[0][..., 1:])
    np.testing.assert_allclose(changed[0][..., 0] - usual[0][..., 0], 1.0, atol=1e-6)


def test_published_latents_and_stages():
    flow = WaveGlow()
    assert flow.latent_shapes((16000, 1)) == ((2000, 2), (2000, 2), (2000, 4))
    shapes = jax.eval_shape(
        flow.init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, 256, 1), jnp.float32),
        jax.ShapeDtypeStruct((1, 1, 80), jnp.float32),
    )["params"]
    stages = [shapes[f"stages_{i}"]["step"]["parts_0"]["weight"] for i in range(3)]
    assert [leaf.shape for leaf in stages] == [(4, 8, 8), (4, 6, 6), (4, 4, 4)]


def test_starts_as_rotations():
    # A zero-initialised last layer: log p(x) is that of N(0, I), whatever the mel.
    x = CASE.data()
    found = encode(FLOW, CASE.first, x, CASE.cond())
    np.testing.assert_allclose(found.log_det, 0.0, atol=1e-5)
    expected = -0.5 * np.sum(x**2, axis=(1, 2)) - 6 * np.log(2 * np.pi)
    floats.assert_close(found.log_prob, expected, rtol=1e-5)


def test_takes_a_condition_that_is_upsampled_already():
    x, cond = CASE.data(), CASE.cond()
    given = FLOW.apply(CASE.variables, cond, EVENT[0], method="upsample")
    found = encode(FLOW.clone(upsampled=True), CASE.variables, x, given)
    laws.assert_close(found, encode(FLOW, CASE.variables, x, cond), 1e-6, "upsampled")


def test_the_density_depends_on_the_mel():
    x, cond = CASE.data(), CASE.cond()
    usual = encode(FLOW, CASE.variables, x, cond).log_prob
    other = encode(FLOW, CASE.variables, x, cond.at[0].add(1.0)).log_prob
    assert usual[0] != other[0]
    np.testing.assert_array_equal(usual[1:], other[1:])


def test_refuses_what_does_not_fit():
    x, cond = jnp.zeros((1, 12, 1)), jnp.zeros((1, 4, 2))
    init = jax.random.key(0)
    with pytest.raises(ValueError, match=r"group=4 divides"):
        FLOW.init(init, jnp.zeros((1, 13, 1)), cond)
    with pytest.raises(ValueError, match=r"expected a waveform \(time, 1\)"):
        FLOW.latent_shapes((12, 2))
    with pytest.raises(ValueError, match="2 frames of 4 samples for 12 samples"):
        FLOW.init(init, x, cond[:, :2])
    with pytest.raises(ValueError, match="-8 channels would reach the last step"):
        WaveGlow(flows=9, early_every=1)
    with pytest.raises(ValueError, match="early_every=0.*expected each to be at least"):
        WaveGlow(early_every=0)


def test_a_condition_upsampled_already_is_not_left_out_by_mistake():
    flow, x = FLOW.clone(upsampled=True), CASE.data()
    with pytest.raises(ValueError, match="without a condition, but it was made with"):
        jax.eval_shape(flow.apply, CASE.variables, x)
    z = FLOW.draw(jax.random.key(0), x.shape)
    with pytest.raises(ValueError, match="without a condition, but it was made with"):
        jax.eval_shape(lambda z: flow.apply(CASE.variables, z, method="decode"), z)


def test_build():
    config = ConfigDict({"name": "waveglow", "args": SMALL})
    assert build.build(config) == FLOW
