"""What a trained flow is measured to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.data import build as datasets
from fdnf.evaluation.core import records
from fdnf.evaluation.scorers import vector_scores
from fdnf.evaluation.tables import cells
from fdnf.evaluation.tasks import evaluate, sampling
from fdnf.flows import build as flows
from fdnf.ops import trees
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained
from tests import floats, tiny

CONFIG = tiny.config()
DATA = datasets.build(CONFIG.data)
FLOW = flows.build(CONFIG.model)


@pytest.fixture(scope="module")
def trained():
    keys = jax.random.split(jax.random.key(0), 2)
    x = jnp.stack([jnp.asarray(DATA.train[:50]), jnp.asarray(DATA.train[50:100])])
    variables = {"constants": {}, **jax.vmap(FLOW.init)(keys, x)}
    return Trained(FLOW, variables, CONFIG, {"event": [3], "preprocess": {}})


@pytest.fixture(scope="module")
def found(trained):
    return evaluate.evaluate(trained, DATA, "student", [0, 5])


def test_one_record_a_run(found, trained):
    assert [record.seed for record in found] == [0, 1]
    assert [record.skipped_steps for record in found] == [0, 5]
    for record in found:
        assert (record.arch, record.data) == ("MAF", "synthetic")
        assert (record.method, record.steps) == ("student", 12)
        params = trees.take_run(trained.variables["params"], 0)
        assert record.parameters == trees.parameter_count(params)
    for times in (found[0].density_ms, found[0].sampling_ms):
        median, p10, p90 = times
        assert 0 < p10 <= median <= p90


def test_what_was_timed_once_is_one_record_s(found):
    first, second = found
    assert first.time_batch is not None
    taken = (second.density_ms, second.sampling_ms, second.density_mib)
    assert (*taken, second.sampling_mib, second.time_batch) == (None,) * 5
    assert cells.density(found) == first.density_ms
    assert cells.first(found[::-1], "sampling_mib") == first.sampling_mib


@pytest.mark.parametrize("split", ["val", "test"])
def test_log_likelihood_is_over_the_whole_split(found, trained, split):
    x = jnp.asarray(getattr(DATA, split))
    for r, record in enumerate(found):
        params = trees.take_run(trained.variables["params"], r)
        each = FLOW.apply({"params": params}, x, method="log_prob")
        mean, error = record.log_likelihood[split]
        floats.assert_close(mean, np.mean(each), rtol=1e-5)
        expected = np.std(each, ddof=1) / np.sqrt(len(each))
        floats.assert_close(error, expected, rtol=1e-4)


def test_sample_distances(found, trained):
    for r, record in enumerate(found):
        drawn = sampling.samples(trained, r, 40, seed=r)
        assert record.metrics["exploded_percent"] == 0
        expected = vector_scores.distances(drawn, DATA, seed=r)
        assert expected["sliced_wasserstein"] > 0
        for name, value in expected.items():
            floats.assert_close(record.metrics[name], value, rtol=1e-6)


def test_same_seed_same_noise(trained):
    ours = sampling.samples(trained, 0, 40, seed=3)
    np.testing.assert_array_equal(ours, sampling.samples(trained, 0, 40, seed=3))
    params = trees.take_run(trained.variables["params"], 0)
    z = FLOW.apply({"params": params}, jnp.asarray(ours), method="encode").z
    other = trees.take_run(trained.variables["params"], 1)
    theirs = sampling.samples(trained, 1, 40, seed=3)
    again = FLOW.apply({"params": other}, jnp.asarray(theirs), method="encode").z
    np.testing.assert_allclose(z[0], again[0], atol=1e-4)


def test_exploded_rows_are_those_beyond_the_data():
    reach = np.abs(DATA.train).max()
    rows = np.zeros((4, 3), np.float32)
    rows[1, 0] = 2.9 * reach
    rows[2, 1] = -3.1 * reach
    rows[3, 2] = np.nan
    assert vector_scores.exploded(rows, DATA).tolist() == [False, False, True, True]


def test_exploded_samples_are_counted_and_left_out(trained):
    # Scales of e^5 a block: most rows go far beyond the data.
    params = jax.tree.map(lambda leaf: leaf + 4.0, trained.variables["params"])
    broken = trained._replace(variables={"params": params, "constants": {}})
    record = evaluate.evaluate(broken, DATA, "student", [0, 0])[0]
    drawn = sampling.samples(broken, 0, 40, seed=0)
    share = np.mean(vector_scores.exploded(drawn, DATA))
    assert 0 < share
    floats.assert_close(record.metrics["exploded_percent"], 100 * share)
    assert np.isfinite(list(record.metrics.values())).all()


def test_floor_is_below_a_shifted_flow():
    near = vector_scores.floor(DATA, 50)
    far = vector_scores.distances(DATA.train[:50] + 2.0, DATA, seed=0)
    for name, value in near.items():
        assert 0 <= value < far[name]


def test_data_of_another_dimension(trained):
    config = tiny.config()
    config.data.args.dim = 5
    with pytest.raises(ConfigError, match=r"shape \(3,\), synthetic has \(5,\)"):
        evaluate.evaluate(trained, datasets.build(config.data), "student", [0, 0])


def test_records_are_written_and_read_back(found, tmp_path):
    evaluate.write(found, tmp_path)
    assert (tmp_path / "student" / "seed_1" / records.FILENAME).exists()
    again = records.read_records(tmp_path)
    assert [record.seed for record in again] == [0, 1]
    assert again[0].log_likelihood == found[0].log_likelihood
