"""Images through a flow in batches of one size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.data.images import Images
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.train import preprocess
from fdnf.train.preprocess import Preprocess
from fdnf.train.teachers import Trained
from tests import floats, mixed
from tests.halves import Centred, Halves, Shifted

IMAGES = np.random.default_rng(0).integers(0, 256, size=(7, 4, 6, 1), dtype=np.uint8)
KEY = jax.random.key(0)
EVENT = (4, 6, 1)


class Noisy(Centred):
    """Adds dequantisation noise, as real preprocessing does."""

    def encode(self, key, x):
        y, log_det = super().encode(key, x)
        return y + jax.random.uniform(key, x.shape), log_det

    def to_pixels(self, y):
        return jnp.floor(y + 128.0).astype(jnp.uint8)


@pytest.mark.parametrize("size", [2, 3, 7, 10])
def test_any_number_of_images_comes_back(size):
    flow = Sampler(Halves(), {}, Noisy(), batch_size=size)
    z = flow.encode(IMAGES, KEY)
    assert [part.shape for part in z] == [(7, 4, 3, 1)] * 2
    np.testing.assert_array_equal(flow.decode(z).images, IMAGES)


def test_batches_differ_in_their_noise():
    flow = Sampler(Halves(), {}, Noisy(), batch_size=2)
    same = np.zeros((4, 4, 6, 1), np.uint8)
    noise = flow.encode(same, KEY)[0]
    assert not np.isclose(noise[:2], noise[2:]).any()


def test_one_program_a_direction_whatever_the_number():
    flow = Sampler(Halves(), {}, Centred(), batch_size=5)
    counters = (samplers._encode, samplers.decode_batch)
    flow.decode(flow.encode(IMAGES, KEY))
    before = [counter._cache_size() for counter in counters]
    for n in (1, 4, 6):
        flow.decode(flow.encode(IMAGES[:n], KEY))
    assert [counter._cache_size() for counter in counters] == before


def test_draw_is_of_the_prior_at_a_temperature():
    flow = Sampler(Halves(), {}, Centred())
    warm, cold = (flow.draw(KEY, (100, 4, 6, 1), t) for t in (1.0, 0.5))
    assert [part.shape for part in warm] == [(100, 4, 3, 1)] * 2
    assert all(0.9 < part.std() < 1.1 for part in warm)
    floats.assert_close(cold[0], 0.5 * warm[0])


def test_each_part_has_its_temperature():
    flow = Sampler(Halves(), {}, Centred())
    warm, mixed = (flow.draw(KEY, (9, 4, 6, 1), t) for t in (1.0, (0.5, 1.0)))
    floats.assert_close(mixed[0], 0.5 * warm[0])
    np.testing.assert_array_equal(mixed[1], warm[1])
    with pytest.raises(ValueError, match="3 temperatures .* for 2 latents"):
        flow.draw(KEY, (9, 4, 6, 1), (0.5, 0.5, 1.0))


def test_reach_is_of_the_data_before_they_are_cut():
    flow = Sampler(Halves(), {}, Centred(), batch_size=2)
    z = np.zeros((4, 4, 3, 1), np.float32)
    z[0, 1, 1, 0], z[1, 0, 0, 0], z[2, 0, 0, 0] = 50.0, np.nan, -np.inf
    found = flow.decode((np.zeros_like(z), z))
    np.testing.assert_array_equal(found.reach, [500.0, np.nan, np.inf, 0.0])
    assert found.images[0, 1, 4, 0] == 255


def test_condition():
    flow = Sampler(Shifted(), {}, Centred(classes=3), batch_size=4)
    cond = flow.condition(np.array([0, 1, 2, 0, 1, 2, 0]))
    z = flow.encode(IMAGES, KEY, cond)
    np.testing.assert_array_equal(flow.decode(z, cond).images, IMAGES)
    other = flow.decode(z, flow.condition(np.zeros(7, int))).images.astype(int)
    np.testing.assert_array_equal(other[0], IMAGES[0])
    np.testing.assert_array_equal(other[1], np.minimum(IMAGES[1] + 10.0, 255))
    with pytest.raises(ValueError, match="needs the images' labels"):
        flow.condition(None)
    assert Sampler(Halves(), {}, Centred()).condition(np.zeros(7, int)) is None


def test_images_of_fewer_bits():
    data = Images("x", IMAGES, IMAGES, IMAGES, "none")
    assert samplers.as_decoded(data, Preprocess(levels=256)) is data
    found = samplers.as_decoded(data, Preprocess(levels=32, bits=5))
    assert found.levels == 32
    np.testing.assert_array_equal(found.val, IMAGES // 8)


def test_no_images():
    with pytest.raises(ValueError, match="no rows"):
        Sampler(Halves(), {}, Centred()).encode(IMAGES[:0], KEY)


def drawn(sampler, count=7, temperature=1.0, seed=0):
    return sampler.samples(EVENT, count, temperature=temperature, seed=seed)


def test_samples_are_what_their_latents_decode_to():
    sampler = Sampler(Halves(), {}, Centred(), batch_size=3)
    found = drawn(sampler)
    assert found.images.shape == (7, *EVENT)
    assert found.labels is None
    np.testing.assert_array_equal(sampler.decode(found.z).images, found.images)
    assert len(np.unique(found.z[1][:, 0, 0, 0])) == 7


def test_temperatures_and_flows_share_the_noise():
    sampler = Sampler(Halves(), {}, Centred(), batch_size=3)
    warm, cold = drawn(sampler), drawn(sampler, temperature=0.5)
    other = drawn(Sampler(Shifted(), {}, Centred(classes=2), batch_size=3))
    for i in (0, 1):
        floats.assert_close(cold.z[i], 0.5 * warm.z[i])
        np.testing.assert_array_equal(other.z[i], warm.z[i])
    assert not np.array_equal(drawn(sampler, seed=1).z[0], warm.z[0])


def test_classes_take_turns():
    found = drawn(Sampler(Shifted(), {}, Centred(classes=3), batch_size=2))
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    plain = drawn(Sampler(Halves(), {}, Centred(), batch_size=2))
    shift = np.clip(128 + 10 * plain.z[1][2, 0, 0, 0] - 20, 0, 255)
    np.testing.assert_allclose(found.images[2, 0, 3, 0], shift, atol=0.51)


@pytest.mark.parametrize(
    ("temperature", "name"), [(1, "t1.0"), (0.7, "t0.7"), ((0.7, 1.0), "t0.7-1.0")]
)
def test_names_of_temperatures(temperature, name):
    assert samplers.named(temperature) == name


def test_any_number_of_rows_goes_through_one_program():
    rows = np.arange(10.0)
    seen = []

    def function(i, x):
        seen.append((i, len(x)))
        return x + 1, x.sum(keepdims=True).repeat(len(x))

    found, _ = samplers.in_batches(function, (rows,), 4)
    np.testing.assert_array_equal(found, rows + 1)
    assert seen == [(0, 4), (1, 4), (2, 4)]


def test_rows_with_weights_are_drawn_by_them_and_none_twice():
    data = mixed.table(800)
    plain = data._replace(columns=None, condition_columns=None)
    described = preprocess.describe(preprocess.make(None, plain))
    model = Trained(Halves(), {}, None, {"event": [3], "preprocess": described})
    x, cond = samplers.rows_of(model, plain, 0, 1000, seed=0)
    assert len(x) == len(cond) == len(np.unique(x, axis=0))
    places = {tuple(row): i for i, row in enumerate(data.train)}
    picked = np.array([places[tuple(row)] for row in x])
    np.testing.assert_array_equal(cond, data.conditions[0][picked])
    # Weights are as 0 to 1 to 2 to 3: of the last all rows stay.
    counts = np.bincount(picked % 4, minlength=4)
    assert counts[0] == 0
    assert counts[3] == 100
    assert 15 < counts[1] < 55
    assert 45 < counts[2] < 85
    few, _ = samplers.rows_of(model, plain, 0, 10, seed=0)
    np.testing.assert_array_equal(few, x[:10])
