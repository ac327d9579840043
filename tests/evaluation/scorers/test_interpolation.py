"""Interpolation through a flow whose latents can be read off its images."""

import numpy as np
import pytest

from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import interpolation
from tests.halves import Centred, Halves, Shifted

RNG = np.random.default_rng(0)
# Far enough from 0 and 255 that no combination is clipped.
IMAGES = RNG.integers(80, 176, size=(12, 4, 6, 1), dtype=np.uint8)
CODEC = Sampler(Halves(), {}, Centred(), batch_size=4)


def made(images=IMAGES, temperature=1.0, seed=0):
    found = interpolation.pairs(CODEC, images, temperature=temperature, seed=seed)
    return [decoded.images for decoded in found]


def test_every_image_but_an_odd_one_is_in_one_pair():
    found = made(IMAGES[:11])
    assert [batch.shape for batch in found] == [(4, 4, 6, 1), (1, 4, 6, 1)]
    assert all(batch.dtype == np.uint8 for batch in found)


def test_a_seed_fixes_everything():
    np.testing.assert_array_equal(*map(np.concatenate, (made(), made())))
    assert not np.array_equal(made()[0], made(seed=1)[0])


def test_temperature_acts_on_the_parts_split_off_only():
    cold, warm = np.concatenate(made(temperature=0.0)), np.concatenate(made())
    np.testing.assert_array_equal(cold[:, :, 3:], warm[:, :, 3:])
    assert (cold[:, :, :3] == 128).all()
    # Ten times a standard normal around 128.
    assert 7 < warm[:, :, :3].std() < 13


def test_top_is_eq_16_of_two_of_the_images():
    tops = IMAGES[:, :, 3:].reshape(12, -1) - 128.0
    used = []
    for row in np.concatenate(made()):
        found = row[:, 3:].ravel() - 128.0
        fits = {}
        for i in range(12):
            for j in range(i + 1, 12):
                basis = np.stack([tops[i], tops[j]], axis=1)
                weights, residual, *_ = np.linalg.lstsq(basis, found)
                fits[i, j] = float(residual[0]), weights
        (i, j), (residual, weights) = min(fits.items(), key=lambda fit: fit[1][0])
        assert residual < 12  # Rounding: 12 pixels of at most 1/4 each, squared.
        assert (weights > -0.02).all()
        alpha = weights[1] / weights.sum()
        lengths = np.linalg.norm(tops[[i, j]], axis=1)
        wanted = (1 - alpha) * lengths[0] + alpha * lengths[1]
        assert np.linalg.norm(found) == pytest.approx(wanted, rel=0.02)
        used += [i, j]
    assert sorted(used) == list(range(12))


def test_strip_goes_from_image_to_image():
    found = interpolation.strips(CODEC, IMAGES[:4], steps=5)
    lines = found.reshape(2, 5, 4, 6, 1)
    np.testing.assert_array_equal(lines[:, 0], IMAGES[0:4:2])
    np.testing.assert_array_equal(lines[:, -1], IMAGES[1:4:2])


def test_strip_of_the_top_keeps_one_noise():
    found = interpolation.strips(CODEC, IMAGES[:4], steps=3, temperature=0.7)
    lines = found.reshape(2, 3, 4, 6, 1)
    np.testing.assert_array_equal(lines[:, 0, :, 3:], IMAGES[0:4:2, :, 3:])
    assert (lines[:, :, :, :3] == lines[:, :1, :, :3]).all()
    assert not np.array_equal(lines[0, 0, :, :3], lines[1, 0, :, :3])
    assert not np.array_equal(lines[0, 0, :, :3], IMAGES[0, :, :3])


def test_manifold_has_the_images_in_its_corners():
    found = interpolation.manifold(CODEC, IMAGES[:4], size=3)
    square = found.reshape(3, 3, 4, 6, 1)
    corners = square[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_array_equal(corners, IMAGES[:4])
    # phi = 0, phi' = 45 degrees.
    data = IMAGES[:2] - 128.0
    expected = np.clip((data[0] + data[1]) / np.sqrt(2) + 128, 0, 255)
    np.testing.assert_allclose(square[0, 1], expected, atol=0.51)


def test_full_turn_meets_its_opposite():
    found = interpolation.manifold(CODEC, IMAGES[:4], size=4, turn=1.0)
    # phi' = 180 degrees is minus the image: 128 - (x - 128).
    np.testing.assert_array_equal(found[2], 256 - IMAGES[0].astype(int))


def test_classes_are_mixed_as_the_latents_are():
    # Latents carry their class, which the mixed condition takes out again.
    sampler = Sampler(Shifted(), {}, Centred(classes=2), batch_size=4)
    labels = np.array([0, 1] * 6)
    line = interpolation.strips(sampler, IMAGES[:2], labels[:2], steps=5)
    np.testing.assert_array_equal(line[[0, -1]], IMAGES[:2])
    square = interpolation.manifold(sampler, IMAGES[:4], labels[:4], size=3)
    np.testing.assert_array_equal(square[[0, 2, 6, 8]], IMAGES[:4])
    found = list(interpolation.pairs(sampler, IMAGES, labels, temperature=0.0, seed=0))
    # What is split off is drawn as zero: 128 - 10 times the mixed class.
    left = np.concatenate([batch.images for batch in found])[:, 0, 0, 0]
    assert left.min() >= 118
    assert left.max() <= 128
    assert len(set(left.tolist())) > 2


def test_wrong_numbers_of_images():
    with pytest.raises(ValueError, match="1 images: expected at least a pair"):
        made(IMAGES[:1])
    with pytest.raises(ValueError, match="3 images and 8 steps"):
        interpolation.strips(CODEC, IMAGES[:3])
    with pytest.raises(ValueError, match="5 images"):
        interpolation.manifold(CODEC, IMAGES[:5])
