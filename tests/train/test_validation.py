"""Validation by the training loss, of what learns to sample."""

import json

import jax
import pytest

from fdnf.losses import inverse_matching
from fdnf.train import loop, models, program, teachers
from fdnf.train.settings import Experiment
from fdnf.train.writers import read_log
from tests import floats
from tests.train.test_transfer import small


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    where = tmp_path_factory.mktemp("teacher")
    loop.train_and_evaluate(small("x").teacher.config, where)
    return where


def named(config, teacher):
    config.teacher.workdir = str(teacher)
    return config


def test_it_is_the_loss_on_whole_batches_of_the_validation_rows(teacher, tmp_path):
    config = named(small("x"), teacher)
    config.eval.batch_size = 64
    built = program.build([Experiment(config, tmp_path, teacher)])
    params, constants = built.state.params, built.state.constants
    found = built.validate(params, constants, built.teacher)
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
    losses = []
    for size in (1, 2):
        built = program.build([Experiment(config, tmp_path, teacher)])
        rows = len(built.data.val)
        config.eval.batch_size = size * rows
        built = program.build([Experiment(config, tmp_path, teacher)])
        state = built.state
        losses.append(built.validate(state.params, state.constants, built.teacher).loss)
    floats.assert_close(*losses, rtol=1e-5)


@pytest.mark.parametrize("method", ["kl", "oracle"])
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
