"""The mel at the rate of groups of samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.nets.wavenet import MelUpsampler
from fdnf.ops import convolutions

UPSAMPLER = MelUpsampler(group=4, hop=8, taps=24)
MEL = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)


def made(upsampler=UPSAMPLER, time=32):
    return upsampler.init(jax.random.key(0), MEL, time)


def test_is_the_transposed_convolution_cut_and_grouped():
    variables = jax.tree.map(lambda leaf: leaf + 0.1, made())
    p = variables["params"]
    fine = convolutions.upsample(MEL, p["kernel"], 8) + p["bias"]
    for time in (4, 28, 40):
        found = UPSAMPLER.apply(variables, MEL, time)
        assert found.shape == (2, time // 4, 12)
        np.testing.assert_allclose(found.reshape(2, time, 3), fine[:, :time], atol=1e-5)


def test_a_sample_sees_its_frame_and_those_before_as_far_as_the_taps():
    variables = made()

    def size(mel):
        return jnp.sum(UPSAMPLER.apply(variables, mel, 40) ** 2, axis=(0, 2))

    seen = np.abs(jax.jit(jax.jacrev(size))(MEL)).sum(axis=(1, 3)) > 0
    groups, frames = np.arange(10)[:, None] // 2, np.arange(5)[None]
    expected = (frames <= groups) & (groups - frames < 24 // 8)
    np.testing.assert_array_equal(seen, expected)


def test_channels_may_be_fewer():
    upsampler = MelUpsampler(4, 8, 24, features=2)
    assert upsampler.apply(made(upsampler), MEL, 32).shape == (2, 8, 8)


def test_frozen_weights_are_constants_without_a_gradient():
    frozen = UPSAMPLER.clone(frozen=True)
    variables = made(frozen)
    assert set(variables) == {"constants"}
    assert np.std(variables["constants"]["kernel"]) > 0

    def size(variables, mel):
        return jnp.sum(frozen.apply(variables, mel, 32) ** 2)

    weights, mel = jax.jit(jax.grad(size, (0, 1)))(variables, MEL)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(weights))
    assert np.all(mel[:, :4] != 0)
    same = UPSAMPLER.apply({"params": variables["constants"]}, MEL, 32)
    np.testing.assert_array_equal(frozen.apply(variables, MEL, 32), same)


def test_refuses_a_mel_that_is_too_short():
    with pytest.raises(ValueError, match="5 frames of 8 samples for 44 samples: .* 6"):
        made(time=44)
    with pytest.raises(ValueError, match=r"expected a log-mel spectrogram"):
        UPSAMPLER.init(jax.random.key(0), MEL[0], 32)
    with pytest.raises(ValueError, match="30 samples in groups of 4"):
        made(time=30)
