"""What is measured of a model on held-out rows, and what is kept by it."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.data import build as datasets
from fdnf.flows.base import FlowModule
from fdnf.losses import inverse_matching
from fdnf.train import loop, models, program, teachers, validation
from fdnf.train.preprocess import Preprocess
from fdnf.train.settings import ConfigError, Experiment
from fdnf.train.writers import read_log
from tests import floats, tiny
from tests.train.test_transfer import small


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return tiny.stored(small("x").teacher.config, tmp_path_factory.mktemp("teacher"))


def named(config, teacher):
    config.teacher.workdir = str(teacher)
    return config


def test_it_is_the_loss_on_whole_batches_of_the_validation_rows(teacher, tmp_path):
    config = named(small("x"), teacher)
    config.eval.batch_size = 64
    built = program.build([Experiment(config, tmp_path, teacher)])
    params, constants = built.state.params, built.state.constants
    found = built.validate(params, constants)
    assert found.scalars["val_loss"].shape == (1,)
    fixed = teachers.run_of(teachers.load(teacher))[1]
    variables = {"params": jax.tree.map(lambda leaf: leaf[0], params)}
    flow = models.build(config.model)
    whole = len(built.data.val) // 64 * 64
    expected, _ = inverse_matching.x_reconstruction(
        flow,
        teachers.load(teacher).flow,
        variables,
        fixed,
        jax.numpy.asarray(built.data.val[:whole]),
    )
    floats.assert_close(found.loss, expected, rtol=1e-4)


def test_rows_fewer_than_a_batch_are_taken_again(teacher, tmp_path):
    config = named(small("x"), teacher)
    losses, rows = [], len(datasets.build(config.data).val)
    for size in (1, 2):
        config.eval.batch_size = size * rows
        built = program.build([Experiment(config, tmp_path, teacher)])
        state = built.state
        losses.append(built.validate(state.params, state.constants).loss)
    floats.assert_close(*losses, rtol=1e-5)


@pytest.mark.parametrize(
    "method", [pytest.param("kl", marks=pytest.mark.slow), "oracle"]
)
def test_a_run_reports_it_and_keeps_the_last_parameters(method, teacher, tmp_path):
    config = named(small(method), teacher)
    result = loop.train_and_evaluate(config, tmp_path)
    rows = [row for row in read_log(tmp_path) if "val_loss" in row]
    assert [row["step"] for row in rows] == [10, 20]
    assert not any("val_log_prob" in row for row in read_log(tmp_path))
    assert result["val_loss"] == rows[-1]["val_loss"]
    assert result["best_step"] == [20]
    assert json.loads((tmp_path / "finished.json").read_text())["val_loss"]
    if method == "oracle":
        assert len(list((teacher / "pools").iterdir())) == 1


LEVELS = 4


class Triangle(FlowModule):
    """Density 2 (1/2 + y) on [-1/2, 1/2) for every pixel; not trained, not inverted."""

    def _encode(self, x, cond):
        rising = jnp.log(2 * (0.5 + x)).reshape(x.shape[0], -1).sum(axis=1)
        return (x,), rising, (x,)

    def encode(self, x, cond=None):
        found = super().encode(x, cond)
        return found._replace(log_prior=jnp.zeros(x.shape[:1]))


X = np.asarray(
    np.random.default_rng(0).integers(0, LEVELS, (7, 2, 2, 1)), dtype=np.uint8
)
# Mass of a level under the density: the integral over its interval.
MASS = np.array([(k + 1) ** 2 - k**2 for k in range(LEVELS)]) / LEVELS**2
TRUTH = np.log(MASS)[X].sum(axis=(1, 2, 3))


def bound(draws, kind, seed=0):
    make = validation.make_log_prob(
        Triangle(), 4, Preprocess(LEVELS), draws=draws, bound=kind, seed=seed
    )
    found = make({"p": jnp.zeros((1, 1))}, {}, X)
    assert found.shape == (1, len(X))
    return found[0]


def expected_log_density():
    """E_u log p(x + u), exactly: the integral of log(2 t) over each interval."""

    def integral(t):
        return t * np.log(2 * t) - t if t > 0 else 0.0

    edges = np.arange(LEVELS + 1) / LEVELS
    per_level = [
        LEVELS * (integral(edges[k + 1]) - integral(edges[k])) - math.log(LEVELS)
        for k in range(LEVELS)
    ]
    return np.array(per_level)[X].sum(axis=(1, 2, 3))


def test_uniform_bound_is_the_expectation():
    found = bound(4000, "uniform")
    np.testing.assert_allclose(found, expected_log_density(), atol=0.06)
    assert np.all(found < TRUTH)


def test_importance_bound_nears_the_truth():
    one, many = bound(1, "importance"), bound(4000, "importance")
    floats.assert_close(one, bound(1, "uniform"))
    np.testing.assert_allclose(many, TRUTH, atol=0.03)
    assert abs(many - TRUTH).max() < abs(expected_log_density() - TRUTH).max()


def test_noise_is_that_of_the_seed():
    np.testing.assert_array_equal(bound(2, "uniform", 5), bound(2, "uniform", 5))
    assert np.any(bound(2, "uniform", 5) != bound(2, "uniform", 6))


def test_unknown_bound():
    with pytest.raises(ConfigError, match="eval.bound='exact'; known"):
        validation.make_log_prob(Triangle(), 4, bound="exact")


def test_conditional_flow_needs_labels():
    make = validation.make_log_prob(Triangle(), 4, Preprocess(LEVELS, classes=2))
    with pytest.raises(ValueError, match="needs the labels"):
        make({"p": jnp.zeros((1, 1))}, {}, X)
    labels = np.zeros(len(X), np.int32)
    assert make({"p": jnp.zeros((1, 1))}, {}, X, labels).shape == (1, len(X))


def test_rows_do_not_depend_on_devices_they_share():
    assert jax.local_device_count() == 2
    assert np.isfinite(bound(1, "uniform")).all()
