"""Scores of models of super-resolution against direct computation."""

import copy
import math

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from skimage import metrics as skimage_metrics

from configs import common as sections
from fdnf.evaluation.core.scores import Result, Run
from fdnf.evaluation.scorers import fidelity
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.scorers.fidelity import Judge, Settings
from fdnf.metrics import lpips
from fdnf.ops import resize
from fdnf.train.settings import ConfigError
from tests import floats
from tests.evaluation import sr_pair

FEATURES = "vgg16@00000000"


@pytest.fixture(scope="module")
def data():
    return sr_pair.data()


def whole(trained, data, method="x", judge=None, **section):
    """An evaluation of one model, of three samples of 16 pixels and without times."""
    found = copy.deepcopy(trained.config.eval)
    found.update({"temperature": 0.5, "time_repeats": 0} | section)
    judge = judge or sr_pair.judge()
    return Evaluation(data, found, {method: trained}, shared={"judge": judge})


def measured(evaluation, scorer=fidelity.quality):
    """What a scorer says of each run, and the facts of the last."""
    ((method, trained),) = evaluation.models.items()
    found = []
    for run in range(trained.runs):
        context = Context(evaluation, method, run)
        scores = tuple(scorer(context))
        found.append(Result(Run("tiny", method, facts=context.facts), scores))
    return found


def values(result, metric, split="even"):
    """Image to value."""
    return {
        s.item: s.value for s in result.scores if (s.metric, s.split) == (metric, split)
    }


@pytest.fixture(scope="module")
def scored(data):
    return measured(whole(sr_pair.trained(0.1, 0.3, seed=5), data, "ours"))


def test_bicubic_is_scored_by_hand(data):
    (record,) = fidelity.bicubic(whole(sr_pair.trained(0.1), data))
    hr, lr = data.test[0].hr[1], data.test[0].lr[1]
    sr = resize.upscale_uint8(lr, 4)
    found = {s.metric: s.value for s in record.scores if s.item == "even_1"}
    kwargs = {"data_range": 255}
    psnr = skimage_metrics.peak_signal_noise_ratio(hr, sr, **kwargs)
    ssim = skimage_metrics.structural_similarity(hr, sr, channel_axis=-1, **kwargs)
    error = np.mean((resize.downscale_uint8(sr, 4).astype(float) - lr) ** 2)
    floats.assert_close(found["psnr"], psnr, rtol=1e-4)
    np.testing.assert_allclose(found["ssim"], ssim, atol=2e-4)
    floats.assert_close(found["lr_psnr"], 10 * np.log10(255**2 / error))
    x, y = (jnp.asarray(image[None] / 255, jnp.float32) for image in (sr, hr))
    floats.assert_close(found["pdist"], sr_pair.metric()(x, y)[0], rtol=1e-3)
    assert set(found) == {"psnr", "ssim", "lr_psnr", "pdist"}
    assert record.get("pdist").features == FEATURES
    assert record.run.method == "bicubic"
    assert record.run.facts["scale"] == 4
    assert record.run.facts["source"] == "smooth noise"


def test_every_run_and_image_is_scored(data, scored):
    for result in scored:
        assert len(values(result, "psnr")) == 3
        assert list(values(result, "psnr")) == list(data.test[0].names)
        assert len(values(result, "psnr", "odd")) == 1
        assert result.run.facts["scale"] == 4
        assert "3 of the middle 16x16 pixels" in " ".join(result.run.facts["notes"])
    quiet, loud = scored
    for name, value in values(quiet, "psnr").items():
        assert value > values(loud, "psnr")[name]
        diverse = (values(result, "diversity")[name] for result in scored)
        assert 0 < next(diverse) < next(diverse)


def test_runs_get_the_noise_of_their_number(data, scored):
    (record,) = measured(whole(sr_pair.trained(0.1, seed=0), data))
    assert record.scores == scored[0].scores


def test_a_model_without_noise_in_its_images(data):
    (record,) = measured(whole(sr_pair.trained(0.0), data))
    lr = data.test[0].lr[0]
    again = resize.downscale_uint8(lr.repeat(4, axis=0).repeat(4, axis=1), 4)
    expected = 10 * np.log10(255**2 / np.mean((again.astype(float) - lr) ** 2))
    floats.assert_close(values(record, "lr_psnr")["even_0"], expected)
    assert set(values(record, "diversity").values()) == {0.0}


def test_whole_images_and_fewer(data):
    evaluation = whole(
        sr_pair.trained(0.1, 0.2), data, images=1, samples=2, sample_crop=0
    )
    record, _ = measured(evaluation)
    diverse = values(record, "diversity")
    assert list(diverse) == ["even_0"]
    assert diverse["even_0"] > 0
    notes = " ".join(record.run.facts["notes"])
    assert "first 1 images" in notes
    assert "whole image" in notes


def test_speed(data):
    evaluation = whole(sr_pair.trained(0.1, 0.2), data, time_repeats=2)
    first, second = measured(evaluation, fidelity.speed)
    assert second.scores == ()  # A copy would count as a measurement.
    (time,) = first.scores  # What is not folded has one.
    assert (time.metric, time.given) == ("upscaling_ms", "")
    assert 0 < time.low <= time.value <= time.high
    said = "Timed: even_0 of even, 6x4 to 24x16 pixels."
    assert first.run.facts["notes"] == (said,)
    assert measured(whole(sr_pair.trained(0.1), data), fidelity.speed)[0].scores == ()


def test_exploded_images_are_counted(data):
    trained = sr_pair.trained(np.nan, 100.0)
    found = measured(whole(trained, data, judge=Judge(None, ())))
    for result in found:
        assert values(result, "exploded_images") == {"": 3.0}
        assert values(result, "exploded_images", "odd") == {"": 1.0}
    assert all(math.isfinite(v) for v in values(found[0], "psnr", "odd").values())


def test_without_weights_nothing_stands_for_them(data):
    trained = sr_pair.trained(0.1)
    (record,) = measured(whole(trained, data, judge=Judge(None, ("none",))))
    assert {s.metric for s in record.scores if s.item} == {"psnr", "ssim", "lr_psnr"}
    assert record.run.facts["notes"][0] == "none"


def test_a_student_that_knows_its_judge(data):
    trained = sr_pair.trained(0.1)
    loss = trained.config.loss
    name = sr_pair.metric().name
    loss.feed_forward = ConfigDict({"alpha": 1.0, "feature": name})
    for alpha, told in ((1.0, 1), (0.0, 0)):
        loss.feed_forward.alpha = alpha
        (record,) = measured(whole(trained, data, "v1", images=1, samples=0))
        said = [n for n in record.run.facts["notes"] if "v1 was trained with" in n]
        assert len(said) == told


def test_the_middle():
    image = np.arange(5 * 8 * 3).reshape(5, 8, 3)
    np.testing.assert_array_equal(fidelity.middle(image, 4), image[:4, 2:6])
    np.testing.assert_array_equal(fidelity.middle(image, 6), image[:, 1:7])
    assert fidelity.middle(image, 0) is image


def test_images_of_one_size_follow_each_other(data):
    assert list(fidelity.by_size(data.test[0].lr)) == [[0, 2], [1]]


def test_settings_and_their_errors(data):
    evaluation = sr_pair.trained(0.0).config.eval
    assert fidelity.settings_of(evaluation) == Settings(0.9, 0, 3, 16, 1)
    evaluation.samples = -1
    with pytest.raises(ConfigError, match="at least 0"):
        fidelity.settings_of(evaluation)
    trained = sr_pair.trained(0.0, scale=8)
    with pytest.raises(ConfigError, match="trained for scale 8, tiny has 4"):
        fidelity.fits(whole(trained, data))
    fidelity.fits(whole(sr_pair.trained(0.0), data))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("lpips", "squeezenet", "eval.lpips"),
        ("samples", -1, "expected numbers of at least 0"),
    ],
)
def test_what_could_not_be_judged(key, value, says):
    evaluation = sections.super_resolution().eval
    evaluation[key] = value
    with pytest.raises(ConfigError, match=says):
        fidelity.check(evaluation)


def test_weights_are_looked_for_in_the_home_directory(monkeypatch, tmp_path):
    paths = []
    monkeypatch.setattr(lpips, "named", lambda net, path: paths.append(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    evaluation = sections.super_resolution().eval
    evaluation.weights = "~/alex.npz"
    with pytest.raises(AttributeError):  # Of what stands for the metric.
        fidelity.check(evaluation)
    assert paths == [f"{tmp_path}/alex.npz"]
    # Other data are judged by other things.
    fidelity.check(sections.speech().eval)


def test_judges(tmp_path, monkeypatch):
    evaluation = sr_pair.trained(0.0).config.eval
    monkeypatch.setattr(lpips.weight_files, "installed", lambda *_: None)
    judge = fidelity.judge_of(evaluation)
    assert (judge.metric, judge.name) == (None, None)
    assert "not taken: alexnet needs its weights" in judge.notes[0]
    evaluation.weights = str(tmp_path / "none.npz")
    assert fidelity.judge_of(evaluation).metric is None
    (tmp_path / "none.npz").write_bytes(b"other")
    with pytest.raises(ConfigError, match="eval.weights"):
        fidelity.judge_of(evaluation)
    evaluation.lpips = "squeeze"
    with pytest.raises(ConfigError, match="squeeze"):
        fidelity.judge_of(evaluation)


def test_published_weights(data_dir):
    path = data_dir / "lpips_alexnet.npz"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    evaluation = sr_pair.trained(0.0).config.eval
    evaluation.weights = str(path)
    judge = fidelity.judge_of(evaluation)
    assert judge.name == "lpips_alex"
    assert "14079cc0" in judge.notes[0]
    black = np.zeros((32, 32, 3), np.uint8)
    found = {s.metric: s for s in judge.fidelity(black, black, black[::4, ::4])}
    assert (found["lpips"].value, found["lpips"].features) == (0.0, "alex")
    # Too small for AlexNet: not scored, rather than scored otherwise.
    small = black[:16, :16]
    found = {s.metric for s in judge.fidelity(small, small, small[::4, ::4])}
    assert "lpips" not in found
    assert not list(judge.diversity(np.stack([small, small])))
