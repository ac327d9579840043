"""Vocoders on clips of any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.evaluation.models import vocoder as vocoders
from fdnf.evaluation.models.vocoder import Vocoder
from fdnf.ops import mel
from fdnf.students.wave import WaveNetStudent
from tests import floats
from tests.evaluation import speech_models

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def teacher():
    return speech_models.teacher()


def test_few_lengths():
    model = Vocoder(WaveNetStudent(), {}, mel.DEFAULT, 4000)
    assert {model.length(t) for t in range(2001, 4001)} == {4000}
    assert {model.length(t) for t in range(1001, 2001)} == {2000}
    # Half of 1000, up to a multiple of the group of 8.
    assert model.length(500) == 504
    assert model.length(4001) == 8000


def test_of_the_lengths_the_first_samples_are_kept(teacher):
    """Padding changes what is within reach of it, and nothing before."""
    model = vocoders.of(teacher, longest=2048)
    clip = speech_models.data().test[1]
    log_mel = vocoders.log_mel(clip, model.settings)
    whole = model(log_mel, 2048, KEY)
    part = model(log_mel[: 1280 // 64], 1280, KEY)
    assert whole.samples.shape == (2048,)
    assert part.samples.shape == (1280,)
    # 2 flows of 2 layers see 3 groups of 8 each, beside a sample's own.
    reach = 56
    gap = np.abs(whole.samples[:1280].astype(int) - part.samples)
    assert gap[: 1280 - reach].max() <= 1
    assert gap[1280 - reach :].max() > 1


def test_is_what_the_flow_decodes(teacher):
    """Of the latents that `draw` gives, by the flow as it was trained."""
    clip = speech_models.data().test[1]
    folded = vocoders.of(teacher, longest=2048)
    plain = vocoders.of(teacher, longest=2048, fold=False)
    assert folded.flow.folded
    assert not plain.flow.folded
    log_mel = vocoders.log_mel(clip, plain.settings)
    sound = folded(log_mel, 2048, KEY)
    z = plain.flow.apply(plain.variables, KEY, (1, 2048, 1), 1.0, method="draw")
    x = plain.flow.apply(
        plain.variables, z, jnp.asarray(log_mel[None]), method="decode"
    ).x[0, :, 0]
    np.testing.assert_allclose(
        sound.samples / 32768, np.clip(x, -1, 1 - 2**-15), atol=3e-4
    )
    floats.assert_close(sound.peak, np.abs(x).max(), rtol=1e-3)
    assert sound.beyond == np.count_nonzero((x < -1) | (x >= 1))


def test_sound_of_what_is_no_number():
    x = np.array([0.5, np.nan, 2.0, -np.inf])
    sound = vocoders.to_sound(x)
    np.testing.assert_array_equal(sound.samples, [16384, 0, 32767, -32768])
    assert not sound.finite
    assert sound.beyond == 3
    assert vocoders.to_sound(x[:1]).peak == 0.5


def test_too_few_frames(teacher):
    model = vocoders.of(teacher, longest=2048)
    with pytest.raises(ValueError, match="3 frames of 64 samples for 640 samples"):
        model(np.zeros((3, 8), np.float32), 640, KEY)
