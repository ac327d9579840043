"""Objectives of feed-forward students, against the losses themselves."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from configs import srflow_bsds300, waveglow_ljspeech
from fdnf.flows.srflow import SRFlow
from fdnf.losses import feed_forward
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent
from fdnf.train import generators, objectives, settings
from fdnf.train.settings import ConfigError
from tests import floats, laws, tiny

KEY = jax.random.key(0)
TINY = {"scale": 2, "blocks": 1, "features": 4, "growth": 2, "rdbs": 1, "convs": 2}
TEACHER = SRFlow(levels=1, steps=1, hidden=4, taps=(0,), **TINY)
STUDENT = SRFlowStudent(
    widths=(4,), base_blocks=1, base_rdbs=1, base_convs=1, taps=(0,), **TINY
)


def config(method="feed_forward", **given):
    section = {"method": method, "feed_forward": given}
    return ConfigDict({"loss": section, "train": {"steps": 10}})


@pytest.fixture(scope="module")
def pair():
    x = jax.random.uniform(KEY, (4, 8, 8, 3))
    batch = {"x": x, "cond": x[:, ::2, ::2]}
    z = STUDENT.draw(KEY, x.shape)
    teacher = laws.drawn(TEACHER, x, batch["cond"])
    student = laws.drawn(STUDENT, z, batch["cond"])
    return batch, teacher, student


def test_objective_is_the_loss_on_shared_latents(pair):
    batch, teacher, student = pair
    objective = objectives.build(config(temperature=0.5), STUDENT, TEACHER, 1.0)
    given = {"flow": teacher, "feature": None}
    loss, terms = tiny.compiled(objective)(student, given, batch, KEY, 0)
    z = STUDENT.draw(jax.random.fold_in(KEY, 2), batch["x"].shape, 0.5)

    @jax.jit
    def images(student, teacher, z, cond):
        aim = TEACHER.apply(teacher, z, cond, method="decode").x
        return STUDENT.apply(student, z, cond), aim

    made, aim = images(student, teacher, z, batch["cond"])
    floats.assert_close(loss, jnp.mean(jnp.abs(made - aim)), rtol=1e-5)
    floats.assert_close(terms["reconstruction"], loss, rtol=1e-6)


def test_regression_is_the_mean_distance_to_the_data(pair):
    batch, *_ = pair
    net = RRDBNet(**TINY)
    variables = laws.drawn(net, (), batch["cond"])
    objective = objectives.build(config("regression"), net, None, 1.0)
    loss, terms = tiny.compiled(objective)(variables, {}, batch, KEY, 0)
    made = jax.jit(net.apply)(variables, (), batch["cond"])
    floats.assert_close(loss, jnp.mean(jnp.abs(made - batch["x"])), rtol=1e-5)
    floats.assert_close(terms["l1"], loss)


def test_a_weight_needs_a_feature():
    with pytest.raises(ValueError, match="weighs no feature"):
        generators.arguments(config(alpha=1.0))


def test_teacher_is_needed():
    with pytest.raises(ValueError, match="needs a teacher"):
        objectives.build(config(), STUDENT, None, 1.0)
    assert objectives.needs_teacher(config())
    assert not objectives.needs_teacher(config("regression"))


def test_features_by_name():
    found = generators._feature(
        generators.arguments(
            config(feature="stft", alpha=1.0, stft=((64, 16, 32), (32, 8, 16)))
        )
    )
    assert isinstance(found, feed_forward.StftFeature)
    assert [tuple(r) for r in found.resolutions] == [(64, 16, 32), (32, 8, 16)]
    assert generators.weights(config(feature="stft", alpha=1.0)) is None
    assert generators.weights(config(feature="lpips_vgg16", alpha=0.0)) is None


def test_missing_weights_are_a_matter_of_the_config(tmp_path):
    built = srflow_bsds300.get_config("student")
    built.loss.feed_forward.weights = str(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match=r"loss.feed_forward.weights: .*none.npz"):
        settings.check(built)


def test_likelihood_is_no_loss_of_a_student():
    built = waveglow_ljspeech.get_config("student,smoke")
    built.loss.method = "nll"
    with pytest.raises(ConfigError, match="needs a density"):
        settings.check(built)
