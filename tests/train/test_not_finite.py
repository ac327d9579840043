"""Rows without density, data that are not standardised, steps that are skipped."""

import collections
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.data import build as datasets
from fdnf.data.tabular import DataError
from fdnf.flows import build as flows
from fdnf.train import (
    checkpoint,
    loop,
    models,
    objectives,
    optim,
    packs,
    preprocess,
    step,
    validation,
)
from fdnf.train.ending import TrainingStoppedError
from fdnf.train.settings import Experiment
from fdnf.train.writers import read_log
from tests import tiny

NAN, INF = float("nan"), float("inf")


def changed(monkeypatch, **splits):
    """Data sets whose splits are what the functions make of them."""
    build = datasets.build

    def built(config):
        data = build(config)
        return data._replace(
            **{name: make(getattr(data, name).copy()) for name, make in splits.items()}
        )

    monkeypatch.setattr(datasets, "build", built)


def broken(monkeypatch, after):
    """Losses that are NaN from a step on."""
    build = objectives.build

    def built(*args):
        objective = build(*args)

        def nan(*given):
            loss, terms = objective(*given)
            return jnp.where(given[3].step >= after, jnp.nan, loss), terms

        return nan

    monkeypatch.setattr(objectives, "build", built)


def params(*values):
    return {"w": np.array(values, np.float32)[:, None]}


def test_the_newest_finite_parameters_count_until_a_loss_is_finite():
    best = validation.first_best(params(0, 0, 0, 0), {}, 4)
    best = validation.update_best(
        best, params(1, 1, NAN, 1), {}, np.array([INF, NAN, INF, 5.0]), 10
    )
    np.testing.assert_array_equal(best.step, [10, 10, 0, 10])
    np.testing.assert_array_equal(np.ravel(best.params["w"]), [1, 1, 0, 1])
    best = validation.update_best(
        best, params(2, 2, 2, 2), {}, np.array([INF, 7.0, INF, INF]), 20
    )
    np.testing.assert_array_equal(best.step, [20, 20, 20, 10])
    np.testing.assert_array_equal(best.value, [INF, 7.0, INF, 5.0])
    best = validation.update_best(
        best, params(3, 3, 3, 3), {}, np.array([-INF, 8.0, NAN, 4.0]), 30
    )
    np.testing.assert_array_equal(best.step, [30, 20, 30, 30])
    np.testing.assert_array_equal(best.value, [INF, 7.0, INF, 4.0])


def test_parameters_that_are_not_finite_are_never_the_newest():
    best = validation.first_best(params(0, 0), {}, 2)
    best = validation.newest(best, params(1, 1), {}, np.array([NAN, 3.0]), 10)
    best = validation.newest(best, params(NAN, 2), {}, np.array([NAN, NAN]), 20)
    np.testing.assert_array_equal(best.step, [10, 20])
    np.testing.assert_array_equal(np.ravel(best.params["w"]), [1, 2])
    np.testing.assert_array_equal(best.value, [NAN, NAN])


def test_a_validation_row_without_density(monkeypatch, tmp_path, caplog):
    def excluded(rows):
        rows[5] = 1e30
        return rows

    changed(monkeypatch, val=excluded)
    loop.train_and_evaluate(tiny.config(), tmp_path)
    result = json.loads((tmp_path / loop.FINISHED).read_text())
    assert result["best_step"] == [12]
    assert result["validation_rows_not_finite"] == [[5]]
    assert "validation row(s) 5 is not finite" in caplog.text
    row = read_log(tmp_path)[-1]
    assert (row["val_rows_not_finite"], row["val_first_not_finite"]) == ([1], [5])
    kept, _, meta = checkpoint.load_best(tmp_path)
    assert meta["best"]["step"] == [12]
    first = flows.build(tiny.config().model)
    first = jax.jit(first.init)(jax.random.key(0), jnp.zeros((2, 3)))["params"]
    gaps = jax.tree.map(lambda a, b: np.abs(a[0] - b).max(), kept, first)
    assert max(jax.tree.leaves(gaps)) > 1e-3


def test_a_validation_loss_that_is_not_finite_names_its_rows():
    def objective(variables, teacher, batch, moment):
        return variables["params"]["w"] + jnp.where(
            batch["x"].max() > 1e9, jnp.nan, 0.0
        ), {}

    data = datasets.build(tiny.config().data)
    val = np.array(data.val[:6])
    val[4] = 1e10
    validate = validation.by_loss(
        objective,
        data._replace(val=val),
        preprocess.Preprocess(),
        2,
        step=0,
        teacher_runs=False,
    )
    found = validate({"w": jnp.zeros(1)}, {}, {})
    assert found.without == [[4, 5]]
    assert found.scalars["val_first_not_finite"] == [4]


@pytest.mark.parametrize("factor", [1e30, 1e-30, 1e5])
def test_columns_that_are_not_standardised(monkeypatch, tmp_path, factor):
    def scaled(rows):
        rows[:, 1] *= factor
        return rows if factor != 1e5 else rows * factor

    changed(monkeypatch, train=scaled, val=scaled)
    with pytest.raises(DataError, match=r"column 1 \(mean .*, spread .*Subtract from"):
        loop.train_and_evaluate(tiny.config(), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def started(*batches):
    """Initial states of runs, each on its rows."""
    config = tiny.config()
    keys = step.run_keys(0, len(batches))
    flow, optimizer = flows.build(config.model), optim.make(config.optim, 12)
    x = jnp.asarray(np.stack(batches), jnp.float32)
    return models.init_state(flow, optimizer, keys, x, 0.0, density=True)


@pytest.mark.slow
def test_data_sets_of_the_readme_are_standardised_enough(data_dir):
    found = {
        name: datasets.build(ConfigDict({"name": name, "args": {}})).train
        for name in ("miniboone_small", "bsds300", "patches", "digits")
    }
    with np.load(data_dir / "power_subset.npz") as archive:
        found["power_subset"] = archive["train"]
    with np.load(data_dir / "galaxies.npz") as archive:
        found["galaxies"] = archive["x"]
    with np.load(data_dir / "sbibm.npz") as archive:
        for name in archive.files:
            if name.endswith("/reference"):
                found[name] = archive[name][0]
    assert len(found) > 6
    alike = collections.defaultdict(list)
    for rows in found.values():
        alike[rows[:1024].shape].append(rows[:1024])
    for batches in alike.values():
        started(*batches)


def test_a_column_that_does_not_vary_is_let_through():
    rows = np.random.default_rng(0).normal(size=(64, 3))
    rows[:, 1] = 0.5
    started(rows)


# In CI a pack that comes to nothing is in `test_packs_training`.
@pytest.mark.parametrize(
    "together", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_a_training_of_skipped_steps_alone_has_failed(monkeypatch, tmp_path, together):
    broken(monkeypatch, 0)
    if together:
        ((_, result),) = packs.train([Experiment(tiny.config(), tmp_path)])
        assert result is None
        said = json.loads((tmp_path / "failed.json").read_text())["error"]
        assert "No step ever was, so it is not the learning rate" in said
    else:
        says = r"No step ever was, so it is not the learning rate.*column \d \(mean"
        with pytest.raises(TrainingStoppedError, match=says):
            loop.train_and_evaluate(tiny.config(), tmp_path)
    assert not (tmp_path / loop.FINISHED).exists()


def test_nothing_is_saved_while_steps_are_not_finite(monkeypatch, tmp_path):
    broken(monkeypatch, 4)
    config = tiny.config(steps=18, eval_every=3, max_bad_steps=8)
    says = r"Last good checkpoint: .*checkpoints/3\. Lower optim.lr"
    with pytest.raises(TrainingStoppedError, match=says):
        loop.train_and_evaluate(config, tmp_path)
    assert checkpoint.Checkpointer(tmp_path).steps() == [3]


def test_calls_that_do_not_end_where_the_log_is_written_are_refused(tmp_path):
    config = tiny.config(log_every=4)
    with pytest.raises(ValueError, match=r"train.log_every=4 is not a multiple of"):
        loop.train_and_evaluate(config, tmp_path)
