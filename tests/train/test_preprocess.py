"""From stored rows to what flows see, and back: vectors, images, pairs and clips."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.data import build as datasets
from fdnf.data.tabular import Tabular
from fdnf.ops import mel
from fdnf.train import preprocess
from fdnf.train.batches import Share
from fdnf.train.preprocess import Preprocess, Speech, SuperResolution
from tests import floats

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)), jnp.uint8)
KINDS = [
    Preprocess(256),
    Preprocess(32, bits=5),
    Preprocess(256, margin=0.05),
    Preprocess(32, bits=5, margin=1e-4),
]


@pytest.mark.parametrize("made", KINDS)
def test_pixels_come_back(made):
    y, _ = made.encode(KEY, X)
    expected = np.asarray(X) // 2 ** (8 - made.bits)
    np.testing.assert_array_equal(made.to_pixels(y), expected)
    np.testing.assert_array_equal(made.to_stored(y), expected * 2 ** (8 - made.bits))
    assert np.abs(y).max() <= made.reach(np.asarray(X)) + 1e-5


@pytest.mark.parametrize("made", KINDS)
def test_log_det_is_that_of_the_map(made):
    y, log_det = made.encode(KEY, X)
    # The same noise gives the same y, so neighbouring levels tell the slope.
    noise = np.asarray(jax.random.uniform(KEY, X.shape), np.float64)
    real = np.asarray(X // 2 ** (8 - made.bits), np.float64) + noise
    if made.margin:
        p = made.margin + (1 - 2 * made.margin) * real / made.levels
        expected = np.log((1 - 2 * made.margin) / made.levels / (p * (1 - p)))
        np.testing.assert_allclose(y, np.log(p / (1 - p)), rtol=2e-3, atol=2e-4)
    else:
        expected = np.full(X.shape, -math.log(made.levels))
        np.testing.assert_allclose(y, real / made.levels - 0.5, atol=1e-6)
    floats.assert_close(log_det, expected.sum((1, 2, 3)), rtol=1e-4)


def test_training_batches_are_mirrored_by_halves():
    made = Preprocess(256, flip=True)
    x = jnp.concatenate([X] * 50)
    drawn = made.train(KEY, {"x": x})["x"]
    pixels = np.asarray(made.to_pixels(drawn))
    kept = np.all(pixels == np.asarray(x), axis=(1, 2, 3))
    mirrored = np.all(pixels == np.asarray(x)[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(kept | mirrored)
    assert 0.35 < kept.mean() < 0.65
    # Without flips, and where densities are measured, nothing is mirrored.
    still = made.encode(KEY, x)[0]
    np.testing.assert_array_equal(made.to_pixels(still), x)


def test_labels_become_the_condition():
    labels = jnp.asarray([2, 0, 1, 2, 2, 0])
    batch = Preprocess(256, classes=3).train(KEY, {"x": X, "beside": labels})
    np.testing.assert_array_equal(batch["cond"], np.eye(3)[np.asarray(labels)])
    assert "beside" not in batch
    assert "cond" not in Preprocess(256).train(KEY, {"x": X, "beside": labels})


def test_vectors_pass_as_they_are():
    made, x = Preprocess(), jnp.arange(6.0).reshape(2, 3)
    assert made.train(KEY, {"x": x})["x"] is x
    y, log_det = made.encode(KEY, x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(log_det, 0.0)
    assert made.to_stored(x) is x
    assert made.reach(np.asarray(-x)) == 5.0


def test_made_from_a_config():
    images = datasets.build(ConfigDict({"name": "synthetic_images", "args": {}}))
    section = {"n_bits": 5, "logit": 0.05, "flip": True, "conditional": True}
    made = preprocess.make(ConfigDict(section), images)
    assert made == Preprocess(32, 5, True, 0.05, images.classes)
    hash(made)
    rows = np.zeros((2, 3), np.float32)
    vectors = Tabular("rows", rows, rows, rows, "")
    assert preprocess.make(ConfigDict({}), vectors) == Preprocess()


def test_a_condition_needs_labels():
    images = datasets.build(ConfigDict({"name": "synthetic_images", "args": {}}))
    with pytest.raises(ValueError, match=r"data.conditional: .* has no labels"):
        preprocess.make(ConfigDict({"conditional": True}), images._replace(labels=None))


def test_few_levels_have_no_bits_to_cut():
    images = datasets.build(ConfigDict({"name": "synthetic_images", "args": {}}))
    with pytest.raises(ValueError, match="has 17 levels, not 256"):
        preprocess.make(ConfigDict({"n_bits": 5}), images._replace(levels=17))


MEL = mel.Settings(rate=8000, n_fft=128, hop=64, window=128, mels=8, high=4000.0)
SOUND = Speech(segment=256, mel=MEL)


def places(rows, side, scale):
    """Tiles whose levels say where a pixel lies, in both resolutions."""
    row, column = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    low = np.stack([row, column, 0 * row], -1).astype(np.uint8)
    high = low.repeat(scale, 0).repeat(scale, 1)
    return jnp.asarray(np.stack([high] * rows)), jnp.asarray(np.stack([low] * rows))


@pytest.mark.parametrize("flip", [False, True])
def test_windows_of_both_resolutions_show_the_same_place(flip):
    high, low = places(rows=64, side=6, scale=2)
    made = SuperResolution(scale=2, crop=8, flip=flip, bins=0)
    batch = made.train(KEY, {"x": high, "beside": low})
    x, cond = (np.asarray(batch[k]) * 255 for k in ("x", "cond"))
    assert x.shape == (64, 8, 8, 3)
    assert cond.shape == (64, 4, 4, 3)
    np.testing.assert_allclose(x, cond.repeat(2, 1).repeat(2, 2), atol=1e-4)
    # All nine places occur, and mirrored ones if they may.
    corners = {tuple(corner) for corner in np.round(cond[:, 0, 0, :2]).astype(int)}
    if flip:
        assert {(i, j) for i in range(3) for j in range(6)} >= corners
        assert len({j for _, j in corners}) > 3
    else:
        assert corners == {(i, j) for i in range(3) for j in range(3)}


def test_images_get_noise_of_a_bin():
    x = jnp.full((50, 8, 8, 3), 100, jnp.uint8)
    made = SuperResolution(scale=4, crop=8)
    y, log_det = made.encode(KEY, x)
    noise = np.asarray(y) - 100 / 255
    assert -1 / 64 <= noise.min() < -0.9 / 64
    assert 0.9 / 64 < noise.max() <= 1 / 64
    floats.assert_close(log_det, -192 * math.log(32), rtol=1e-6)
    plain, zero = SuperResolution(scale=4, crop=8, bins=0).encode(KEY, x)
    floats.assert_close(plain, 100 / 255, rtol=1e-6)
    np.testing.assert_array_equal(zero, 0)
    np.testing.assert_array_equal(made.to_stored(plain), x)
    assert made.to_stored(jnp.asarray([-0.3, 1.7])).tolist() == [0, 255]


def test_low_resolution_is_needed():
    with pytest.raises(ValueError, match="needs low-resolution images"):
        SuperResolution(4, 8).condition(jnp.zeros((1, 8, 8, 3)), None)


def test_windows_of_sound_and_their_spectrogram():
    tiles = np.random.default_rng(0).integers(-9000, 9000, (40, 512)).astype(np.int16)
    batch = SOUND.train(KEY, {"x": jnp.asarray(tiles)})
    x, cond = batch["x"], batch["cond"]
    assert x.shape == (40, 256, 1)
    stored = np.asarray(SOUND.to_stored(x)).astype(int)
    starts = []
    for tile, row in zip(tiles.astype(int), stored, strict=True):
        views = np.lib.stride_tricks.sliding_window_view(tile, 256)
        # Noise is half a step at most, which may round to the next.
        (found,) = np.flatnonzero(np.abs(views - row).max(1) <= 1)
        starts.append(found)
    assert len(set(starts)) > 30
    clean = [t[s : s + 256] for t, s in zip(tiles, starts, strict=True)]
    expected = mel.log_mel(jnp.asarray(np.stack(clean), jnp.float32) / 32768, MEL)
    np.testing.assert_allclose(cond, expected, atol=1e-5)
    assert cond.shape[1:] == SOUND.condition_shape((256, 1))


@pytest.mark.parametrize("longer", [1, 2])
def test_windows_start_wherever_they_fit(longer):
    # A tile that is a few samples longer: every start is drawn, the last one too.
    tile = np.arange(256 + longer, dtype=np.int16)
    made = Speech(256, MEL, noise=0.0)
    x = made.train(KEY, {"x": jnp.asarray(np.tile(tile, (60, 1)))})["x"]
    starts = np.asarray(made.to_stored(x))[:, 0]
    assert set(starts.tolist()) == set(range(longer + 1))


def test_sound_gets_noise_of_a_step():
    y, log_det = SOUND.encode(KEY, jnp.zeros((20, 256), jnp.int16))
    noise = np.asarray(y) * 32768
    assert -0.5 <= noise.min() < -0.49
    assert 0.49 < noise.max() <= 0.5
    np.testing.assert_array_equal(log_det, 0)
    silent = Speech(256, MEL, noise=0.0).encode(KEY, jnp.zeros((2, 256), jnp.int16))[0]
    np.testing.assert_array_equal(silent, 0)
    loud = SOUND.to_stored(jnp.asarray([[[2.0], [-2.0]]]))
    assert loud.tolist() == [[32767, -32768]]


@pytest.mark.parametrize("kind", ["images", "sound"])
def test_devices_share_one_batch(kind):
    if kind == "images":
        made = SuperResolution(scale=2, crop=8, flip=True)
        high, low = places(rows=8, side=6, scale=2)
        rows = {"x": high, "beside": low}
    else:
        made = SOUND
        rows = {"x": jnp.arange(8 * 512, dtype=jnp.int16).reshape(8, 512)}
    whole = made.train(KEY, rows)
    parts = [
        made.train(KEY, {k: v[4 * i : 4 * i + 4] for k, v in rows.items()}, Share(i, 2))
        for i in range(2)
    ]
    for name in ("x", "cond"):
        both = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(both, whole[name], atol=1e-6)


@pytest.mark.parametrize(
    "made", [Preprocess(256, flip=True), SuperResolution(4, 16, True, 0), SOUND]
)
def test_json_brings_it_back(made):
    text = json.dumps(preprocess.describe(made))
    assert preprocess.restore(json.loads(text)) == made
    assert preprocess.restore({}) == Preprocess()


def test_pairs_and_clips_are_made_from_a_config():
    pairs = datasets.build(ConfigDict({"name": "synthetic_pairs", "args": {}}))
    config = ConfigDict({"bins": 8, "flip": True})
    expected = SuperResolution(pairs.scale, pairs.event[0], flip=True, bins=8)
    assert preprocess.make(config, pairs) == expected
    assert not expected.plain.flip
    shape = expected.condition_shape(pairs.event)
    assert shape == expected.beside(pairs, 1).shape[1:] == pairs.val_lr.shape[1:]
    clips = datasets.build(ConfigDict({"name": "synthetic_speech", "args": {}}))
    config = ConfigDict({"noise": 0.5, "mel": {"hop": 64, "n_fft": 256, "window": 256}})
    made = preprocess.make(config, clips)
    assert (made.mel.hop, made.mel.rate, made.noise) == (64, clips.rate, 0.5)
