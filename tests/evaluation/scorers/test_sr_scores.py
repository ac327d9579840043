"""Scores of models of super-resolution against direct computation."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from skimage import metrics as skimage_metrics

from fdnf.evaluation.scorers import sr_judge, sr_scores
from fdnf.evaluation.scorers.sr_judge import Judge
from fdnf.evaluation.scorers.sr_scores import Settings
from fdnf.metrics import lpips
from fdnf.ops import resize
from fdnf.train.settings import ConfigError
from tests import floats
from tests.evaluation import sr_pair

SETTINGS = Settings(0.5, 0, 3, 16, 0)
DISTANCE = "pdist_vgg16@00000000"


@pytest.fixture(scope="module")
def data():
    return sr_pair.data()


@pytest.fixture(scope="module")
def scored(data):
    trained = sr_pair.trained(0.1, 0.3, seed=5)
    return sr_scores.evaluate(trained, data, "ours", sr_pair.judge(), SETTINGS)


def test_bicubic_is_scored_by_hand(data):
    record = sr_scores.bicubic(data, sr_pair.judge(), SETTINGS)
    hr, lr = data.test[0].hr[1], data.test[0].lr[1]
    sr = resize.upscale_uint8(lr, 4)
    found = {k: v["even_1"] for k, v in record.values["even"].items()}
    kwargs = {"data_range": 255}
    psnr = skimage_metrics.peak_signal_noise_ratio(hr, sr, **kwargs)
    ssim = skimage_metrics.structural_similarity(hr, sr, channel_axis=-1, **kwargs)
    error = np.mean((resize.downscale_uint8(sr, 4).astype(float) - lr) ** 2)
    floats.assert_close(found["psnr"], psnr, rtol=1e-4)
    np.testing.assert_allclose(found["ssim"], ssim, atol=2e-4)
    floats.assert_close(found["lr_psnr"], 10 * np.log10(255**2 / error))
    x, y = (jnp.asarray(image[None] / 255, jnp.float32) for image in (sr, hr))
    distance = sr_pair.metric()(x, y)[0]
    floats.assert_close(found[DISTANCE], distance, rtol=1e-3)
    assert set(found) == {"psnr", "ssim", "lr_psnr", DISTANCE}
    assert (record.parameters, record.time_ms) == (None, None)
    assert record.perceptual == DISTANCE


def test_every_run_and_image_is_scored(data, scored):
    assert [record.seed for record in scored] == [5, 6]
    for record in scored:
        assert {k: len(v["psnr"]) for k, v in record.values.items()} == {
            "even": 3,
            "odd": 1,
        }
        assert list(record.values["even"]["psnr"]) == list(data.test[0].names)
        assert record.parameters == 1
        assert record.settings["samples"] == 3
    quiet, loud = (record.values["even"] for record in scored)
    for name, value in quiet["psnr"].items():
        assert value > loud["psnr"][name]
        assert 0 < quiet["diversity"][name] < loud["diversity"][name]


def test_runs_get_the_noise_of_their_number(data, scored):
    again = sr_pair.trained(0.1, seed=0)
    (record,) = sr_scores.evaluate(again, data, "x", sr_pair.judge(), SETTINGS)
    assert record.values == scored[0].values


def test_a_model_without_noise_in_its_images(data):
    trained = sr_pair.trained(0.0)
    (record,) = sr_scores.evaluate(trained, data, "x", sr_pair.judge(), SETTINGS)
    lr = data.test[0].lr[0]
    again = resize.downscale_uint8(lr.repeat(4, axis=0).repeat(4, axis=1), 4)
    expected = 10 * np.log10(255**2 / np.mean((again.astype(float) - lr) ** 2))
    floats.assert_close(record.values["even"]["lr_psnr"]["even_0"], expected)
    assert set(record.values["even"]["diversity"].values()) == {0.0}


def test_whole_images_and_fewer(data):
    settings = Settings(0.5, 1, 2, 0, 2)
    trained = sr_pair.trained(0.1)
    (record,) = sr_scores.evaluate(trained, data, "x", sr_pair.judge(), settings)
    assert list(record.values["even"]["diversity"]) == ["even_0"]
    assert record.values["even"]["diversity"]["even_0"] > 0
    low, middle, high = record.time_ms[1], record.time_ms[0], record.time_ms[2]
    assert 0 < low <= middle <= high
    assert record.timed == "even_0 of even, 6x4 to 24x16 pixels"
    assert record.unfolded_ms is None


def test_exploded_images_are_counted(data):
    trained = sr_pair.trained(np.nan, 100.0)
    judge = Judge(None, ())
    found = sr_scores.evaluate(trained, data, "x", judge, SETTINGS)
    assert [record.exploded for record in found] == [4, 4]
    assert all(np.isfinite(v) for v in found[0].values["odd"]["psnr"].values())


def test_without_weights_nothing_stands_for_them(data):
    trained = sr_pair.trained(0.1)
    judge = Judge(None, ("none",))
    (record,) = sr_scores.evaluate(trained, data, "x", judge, SETTINGS)
    assert set(record.values["even"]) == {"psnr", "ssim", "lr_psnr"}
    assert (record.perceptual, record.notes) == (None, ("none",))


def test_a_student_that_knows_its_judge(data):
    trained = sr_pair.trained(0.1)
    loss = trained.config.loss
    loss.feed_forward = ConfigDict({"alpha": 1.0, "feature": DISTANCE})
    for alpha, told in ((1.0, 1), (0.0, 0)):
        loss.feed_forward.alpha = alpha
        settings = SETTINGS._replace(images=1, samples=0)
        (record,) = sr_scores.evaluate(trained, data, "v1", sr_pair.judge(), settings)
        said = [note for note in record.notes if "Student v1 was trained with" in note]
        assert len(said) == told


def test_the_middle():
    image = np.arange(5 * 8 * 3).reshape(5, 8, 3)
    np.testing.assert_array_equal(sr_scores.middle(image, 4), image[:4, 2:6])
    np.testing.assert_array_equal(sr_scores.middle(image, 6), image[:, 1:7])
    assert sr_scores.middle(image, 0) is image


def test_images_of_one_size_follow_each_other(data):
    assert list(sr_scores.by_size(data.test[0].lr)) == [[0, 2], [1]]


def test_settings_and_their_errors(data):
    evaluation = sr_pair.trained(0.0).config.eval
    assert sr_scores.settings_of(evaluation) == Settings(0.9, 0, 3, 16, 1)
    evaluation.samples = -1
    with pytest.raises(ConfigError, match="at least 0"):
        sr_scores.settings_of(evaluation)
    trained = sr_pair.trained(0.0, scale=8)
    with pytest.raises(ConfigError, match="trained for scale 8, tiny has 4"):
        sr_scores.evaluate(trained, data, "x", sr_pair.judge(), SETTINGS)


def test_judges(tmp_path, monkeypatch):
    evaluation = sr_pair.trained(0.0).config.eval
    monkeypatch.setattr(lpips.weight_files, "installed", lambda *_: None)
    judge = sr_judge.of(evaluation)
    assert (judge.metric, judge.name) == (None, None)
    assert "not taken: alexnet needs its weights" in judge.notes[0]
    evaluation.weights = str(tmp_path / "none.npz")
    assert sr_judge.of(evaluation).metric is None
    (tmp_path / "none.npz").write_bytes(b"other")
    with pytest.raises(ConfigError, match="eval.weights"):
        sr_judge.of(evaluation)
    evaluation.lpips = "squeeze"
    with pytest.raises(ConfigError, match="squeeze"):
        sr_judge.of(evaluation)


def test_published_weights(data_dir):
    path = data_dir / "lpips_alexnet.npz"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    evaluation = sr_pair.trained(0.0).config.eval
    evaluation.weights = str(path)
    judge = sr_judge.of(evaluation)
    assert judge.name == "lpips_alex"
    assert "14079cc0" in judge.notes[0]
    black = np.zeros((32, 32, 3), np.uint8)
    assert judge.fidelity(black, black, black[::4, ::4])["lpips_alex"] == 0.0
    # Too small for AlexNet: not scored, rather than scored otherwise.
    small = black[:16, :16]
    assert "lpips_alex" not in judge.fidelity(small, small, small[::4, ::4])
    assert judge.diversity(np.stack([small, small])) is None


def test_records_survive_a_file(scored):
    for record in (
        *scored,
        dataclasses.replace(scored[0], time_ms=(1.0, 0.5, 2.0), notes=("a",)),
    ):
        assert type(record).from_json(record.to_json()) == record
    record = dataclasses.replace(scored[0], values={"b": {"psnr": {"i": np.inf}}})
    assert type(record).from_json(record.to_json()).values["b"]["psnr"]["i"] == np.inf
    for text, told in (
        ("{", "not JSON"),
        ("{}", "expected the fields"),
        (record.to_json().replace('"inf"', '"good"'), "b.psnr.i is 'good'"),
    ):
        with pytest.raises(ValueError, match=told):
            type(record).from_json(text)
