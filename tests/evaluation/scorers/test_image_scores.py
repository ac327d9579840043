"""Scores of images over a fixed random projection, and over what is installed."""

import numpy as np
import pytest

from fdnf.evaluation.scorers import image_scores
from fdnf.metrics import fid, inception, kid, prdc
from fdnf.metrics.extractors import Extractor
from tests import floats

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, size=(600, 4, 4, 1), dtype=np.uint8)


class Projection(Extractor):
    """Eight random projections of the pixels, which must be uint8."""

    matrix = RNG.normal(size=(16, 8)) / 4

    def __init__(self, id="projection@00000000", sha256="0" * 64):
        super().__init__(id, sha256, 8, lambda params, x: x, None)
        self.seen = 0

    def __call__(self, images):
        assert images.dtype == np.uint8
        self.seen += len(images)
        return (images.reshape(len(images), -1) / 255 @ self.matrix).astype(np.float32)


EXTRACTOR = Projection()
REAL = image_scores.real(EXTRACTOR, NOISE[:200])
NAMES = ("fd", "kid", "precision", "recall", "density", "coverage")


def test_scores_are_those_of_the_metrics():
    found = image_scores.scores(REAL, NOISE[200:350])
    assert (found.samples, found.real) == (150, 200)
    assert list(found.values) == [f"{name}_projection@00000000" for name in NAMES]
    real, fake = EXTRACTOR(NOISE[:200]), EXTRACTOR(NOISE[200:350])
    distance = fid.frechet_distance(fid.Statistics(real), fid.Statistics(fake))
    expected = [distance, kid.kid(real, fake).mean, *prdc.prdc(real, fake)]
    floats.assert_close(list(found.values.values()), expected, rtol=1e-9)


def test_batches_score_as_the_whole():
    whole = image_scores.scores(REAL, NOISE[200:350]).values
    batches = image_scores.scores(REAL, iter(np.split(NOISE[200:350], 5))).values
    for name, value in whole.items():
        assert batches[name] == pytest.approx(value, rel=1e-9)


def test_real_features_are_computed_once():
    before = EXTRACTOR.seen
    image_scores.scores(REAL, NOISE[200:300])
    image_scores.scores(REAL, NOISE[300:350])
    assert EXTRACTOR.seen == before + 150


def test_floor_is_of_other_real_images_and_beats_poor_samples():
    floor = image_scores.floor(REAL, NOISE[200:], 150, seed=1)
    assert floor.samples == 150
    poor = image_scores.scores(REAL, NOISE[200:350] // 2 + 100).values
    for name, value in floor.values.items():
        kind = name.partition("_")[0]
        if kind in ("fd", "kid"):
            assert value < 0.2 * poor[name]
        if kind in ("recall", "coverage"):
            assert value > poor[name] + 0.3
    again = image_scores.floor(REAL, NOISE[200:], 150, seed=1)
    assert again == floor
    assert image_scores.floor(REAL, NOISE[200:], 150, seed=2).values != floor.values
    assert image_scores.floor(REAL, NOISE[200:240], 150).samples == 40


def test_fewer_images_than_features():
    few = image_scores.real(EXTRACTOR, NOISE[:7])
    with pytest.warns(fid.FewSamplesWarning):
        found = image_scores.scores(few, NOISE[200:350], which=("fid",))
    features = EXTRACTOR(NOISE[:7]), EXTRACTOR(NOISE[200:350])
    with pytest.warns(fid.FewSamplesWarning):
        expected = fid.frechet_distance(*map(fid.Statistics, features))
    assert found.values == {"fd_projection@00000000": pytest.approx(expected)}


def test_only_the_reference_network_gives_fid():
    id = f"inception_v3_tf_2015@{inception.SHA256[:8]}"
    reference, pretender = Projection(id, inception.SHA256), Projection(id)
    for extractor, name in ((reference, "fid"), (pretender, f"fd_{id}")):
        real = image_scores.real(extractor, NOISE[:200])
        found = image_scores.scores(real, NOISE[200:350], which=("fid",))
        assert list(found.values) == [name]


def test_condition_is_part_of_the_name():
    found = image_scores.scores(REAL, NOISE[200:350], which=("fid",)).under("t0.7")
    assert list(found.values) == ["fd_projection@00000000/t0.7"]


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"which=\['lpips'\]"):
        image_scores.scores(REAL, NOISE, which=("lpips",))
    with pytest.raises(ValueError, match="1 samples"):
        image_scores.scores(REAL, NOISE[:1])
