import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.flows.base import FlowModule
from fdnf.losses import density, inverse_matching
from fdnf.students.base import Student
from fdnf.train import models, settings
from tests import floats
from tests.test_configs import get

KEY = jax.random.key(0)


def config(name, **args):
    return ConfigDict({"name": name, "args": args})


def test_a_name_is_that_of_a_flow_or_of_a_student():
    assert isinstance(models.build(config("maf", steps=2)), FlowModule)
    assert isinstance(models.build(config("resnet", blocks=2)), Student)
    with pytest.raises(ValueError, match="resnet"):
        models.build(config("renset"))
    with pytest.raises(ValueError, match=r"steps.*blocks"):
        models.build(config("resnet", steps=2))


def test_a_student_takes_its_statistics_from_latents_of_the_prior():
    student = models.build(config("resnet", hidden=4, blocks=1, squeezes=1))
    x = jnp.full((64, 4, 4, 1), 100.0)
    variables = models.init(student, KEY, x)
    z = student.draw(jax.random.key(7), (64, 4, 4, 1))
    _, seen = student.apply(
        variables, z, capture_intermediates=True, mutable=["intermediates"]
    )
    (h,) = seen["intermediates"]["net"]["conv_in"]["__call__"]
    np.testing.assert_allclose(h.std(axis=(0, 1, 2)), 1.0, atol=0.3)


def test_methods_that_need_a_density_refuse_a_student():
    wrong = get("maf_patches", "iaf,kl,smoke")
    wrong.model = config("resnet")
    with pytest.raises(settings.ConfigError, match="'kl' needs a density"):
        settings.check(wrong)
    student = models.build(config("resnet", hidden=4, blocks=1))
    x = jnp.ones((2, 4, 4, 1))
    variables = models.init(student, KEY, x)
    with pytest.raises(ValueError, match="no\\s+density"):
        density.reverse_kl(student, student, variables, variables, (x,))
    with pytest.raises(TypeError, match="feed-forward student"):
        student.apply(variables, x, method="encode")


def test_losses_that_decode_only_take_a_student():
    student = models.build(config("resnet", hidden=4, blocks=1))
    flow = models.build(config("pixelcnn", features=4, blocks=1, stages=1))
    x = jax.random.normal(KEY, (3, 4, 4, 1))
    ours, theirs = models.init(student, KEY, x), models.init(flow, KEY, x)
    value, aux = inverse_matching.x_reconstruction(student, flow, ours, theirs, x)
    z = flow.apply(theirs, x, method="encode").z
    floats.assert_close(value, jnp.mean((student.apply(ours, z) - x) ** 2))
    assert aux.student.log_det is None
