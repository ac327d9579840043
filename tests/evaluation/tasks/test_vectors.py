"""What a trained flow on vectors is measured to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdnf.data import build as datasets
from fdnf.data.tabular import Tabular
from fdnf.evaluation.core import quantities, scores, stored
from fdnf.evaluation.core.quantities import Quantity
from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.scorers import vectors
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.tables.columns import Column as TableColumn
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks import densities, evaluate
from fdnf.flows import build as flows
from fdnf.flows.affine import Affine
from fdnf.flows.maf import MAF
from fdnf.ops import trees
from fdnf.train import preprocess
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained
from fdnf.transforms.columns import Column, Columns
from tests import floats, tiny
from tests.evaluation import whole

CONFIG = tiny.config()
DATA = datasets.build(CONFIG.data)
FLOW = flows.build(CONFIG.model)


@pytest.fixture(scope="module")
def trained():
    keys = jax.random.split(jax.random.key(0), 2)
    x = jnp.stack([jnp.asarray(DATA.train[:50]), jnp.asarray(DATA.train[50:100])])
    variables = {"constants": {}, **jax.jit(jax.vmap(FLOW.init))(keys, x)}
    return Trained(FLOW, variables, CONFIG, {"event": [3], "preprocess": {}})


def evaluation(trained, data=DATA, method="student"):
    return Evaluation(data, CONFIG.eval, {method: trained})


@pytest.fixture(scope="module")
def results(trained):
    return evaluate.measure(evaluation(trained), {"student": [0, 5]})


@pytest.fixture(scope="module")
def found(results):
    return whole.of_method(results, "student")


def test_one_result_a_run(found, trained):
    assert [run.seed for run, _ in found] == [0, 1]
    assert [run.facts["skipped_steps"] for run, _ in found] == [0, 5]
    for run, _ in found:
        assert (run.arch, run.data, run.kind) == ("MAF", "synthetic", "vectors")
        assert (run.method, run.facts["steps"]) == ("student", 12)
        assert (run.settings["hidden"], run.facts["source"]) == ((8,), DATA.source)
        params = trees.take_run(trained.variables["params"], 0)
        assert run.facts["parameters"] == trees.parameter_count(params)


def test_the_first_run_alone_was_timed(found):
    first, second = found
    for name in ("density", "sampling"):
        time, size = first.get(f"{name}_ms"), first.get(f"{name}_mib")
        assert 0 < time.low <= time.value <= time.high
        assert (time.n, size.n) == (8, 8)
        assert size.value > 0
        # A copy beside the others would count as a measurement.
        assert second.get(f"{name}_ms") is second.get(f"{name}_mib") is None


@pytest.mark.parametrize("split", ["val", "test"])
def test_log_likelihood_is_over_the_whole_split(found, trained, split):
    x = jnp.asarray(getattr(DATA, split))
    for r, result in enumerate(found):
        params = trees.take_run(trained.variables["params"], r)
        each = FLOW.apply({"params": params}, x, method="log_prob")
        score = result.get("log_likelihood", split=split)
        assert score.n == len(x)
        floats.assert_close(score.value, np.mean(each), rtol=1e-5)
        expected = np.std(each, ddof=1) / np.sqrt(len(each))
        floats.assert_close(score.se, expected, rtol=1e-4)


def test_sample_distances(found, trained):
    for r, result in enumerate(found):
        drawn = vectors.samples(trained, r, 40, seed=r)
        assert result.get("exploded_percent") == Score(
            "exploded_percent", 0, "test", n=40
        )
        expected = list(vectors.distances(drawn, DATA, seed=r))
        assert [s.metric for s in expected] == ["sliced_wasserstein", "energy_distance"]
        for score in expected:
            assert score.value > 0
            own = result.get(score.metric, split="test")
            floats.assert_close(own.value, score.value, rtol=1e-6)


def test_same_seed_same_noise(trained):
    ours = vectors.samples(trained, 0, 40, seed=3)
    np.testing.assert_array_equal(ours, vectors.samples(trained, 0, 40, seed=3))
    params = trees.take_run(trained.variables["params"], 0)
    z = FLOW.apply({"params": params}, jnp.asarray(ours), method="encode").z
    other = trees.take_run(trained.variables["params"], 1)
    theirs = vectors.samples(trained, 1, 40, seed=3)
    again = FLOW.apply({"params": other}, jnp.asarray(theirs), method="encode").z
    np.testing.assert_allclose(z[0], again[0], atol=1e-4)


def test_exploded_rows_are_those_beyond_the_data():
    reach = np.abs(DATA.train).max()
    rows = np.zeros((4, 3), np.float32)
    rows[1, 0] = 2.9 * reach
    rows[2, 1] = -3.1 * reach
    rows[3, 2] = np.nan
    assert vectors.exploded(rows, DATA).tolist() == [False, False, True, True]


def test_exploded_samples_are_counted_and_left_out(trained):
    # Scales of e^5 a block: most rows go far beyond the data.
    params = jax.tree.map(lambda leaf: leaf + 4.0, trained.variables["params"])
    broken = trained._replace(variables={"params": params, "constants": {}})
    result = evaluate.measure(evaluation(broken))[1]
    drawn = vectors.samples(broken, 0, 40, seed=0)
    share = np.mean(vectors.exploded(drawn, DATA))
    assert 0 < share
    floats.assert_close(result.get("exploded_percent").value, 100 * share)
    assert np.isfinite([s.value for s in result.scores if s.split == "test"]).all()


def test_floor_is_a_run_of_training_rows_and_below_a_shifted_flow(results):
    floor = results[0]
    assert (floor.run.method, floor.run.arch) == ("training", "")
    far = vectors.distances(DATA.train[:40] + 2.0, DATA, seed=0)
    for near, other in zip(floor.scores, far, strict=True):
        assert near.metric == other.metric
        assert 0 <= near.value < other.value


def test_data_of_another_dimension(trained):
    config = tiny.config()
    config.data.args.dim = 5
    other = datasets.build(config.data)
    with pytest.raises(ConfigError, match=r"shape \(3,\), synthetic has \(5,\)"):
        evaluate.measure(evaluation(trained, other))


def test_a_model_by_the_name_of_a_baseline(trained):
    with pytest.raises(ConfigError, match=r"called \['training'\]"):
        evaluate.measure(evaluation(trained, method="training"))


def test_results_are_written_and_read_back(results, tmp_path):
    for result in results:
        scores.write(result, tmp_path)
    assert (tmp_path / "student" / "seed_1" / "result.json").exists()
    again = stored.read(tmp_path)
    assert {r.run.key: r.scores for r in again} == {
        r.run.key: r.scores for r in results
    }


def test_a_study_of_ones_own_in_a_dozen_lines(trained, monkeypatch):
    def calibration(context):
        rows = context.data.test.astype(np.float32)
        z = context.sampler.encode(rows, jax.random.key(0))[0]
        test = stats.kstest(z.ravel(), "norm")
        yield Score("pit_ks", float(test.statistic), "test", n=z.size)

    monkeypatch.setitem(
        quantities.QUANTITIES, "pit_ks", Quantity("KS of latents", digits=4)
    )
    view = View("Calibration", (TableColumn("pit_ks"),), index=("arch", "method"))
    extended = evaluate.TASKS[Tabular].extended(scorers=[calibration], views=[view])
    monkeypatch.setitem(evaluate.TASKS, Tabular, extended)
    results = evaluate.measure(evaluation(trained))
    table = evaluate.tables(results)[-1]
    assert (table.title, table.header) == (
        "Calibration",
        ("Arch", "Model", "KS of latents ↓"),
    )
    statistics = [result.get("pit_ks").value for result in results[1:]]
    (row,) = table.texts()
    assert row[:2] == ["MAF", "Student"]
    assert row[2].startswith(f"{np.mean(statistics):.4f} ± ")


def plane(columns=(), conditional=False):
    """Two flows on two columns, and their data; the second is twice as wide."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 2)).astype(np.float32)
    near = (np.arange(60, dtype=np.float32)[:, None],) * 3 if conditional else None
    data = Tabular("plane", rows, rows, rows, "drawn", near)
    if columns:
        data = data._replace(columns=Columns(columns))
    flow = MAF(1, (2,)) if conditional else Affine()
    cond = jnp.asarray(near[0][:5]) if near else None
    first = jax.jit(flow.init)(jax.random.key(0), jnp.asarray(rows[:5]), cond)
    wide = jax.tree.map(lambda leaf: 2 * leaf, first)
    meta = {"event": [2], "preprocess": preprocess.describe(of_table(data))}
    models = {
        method: Trained(flow, jax.tree.map(lambda leaf: leaf[None], tree), CONFIG, meta)
        for method, tree in (("teacher", first), ("student", wide))
    }
    return Evaluation(data, CONFIG.eval, models)


def of_table(data):
    return preprocess.make(CONFIG.data, data)


@pytest.fixture
def drawn(monkeypatch):
    """What is given to the picture of densities, in its place."""
    given = []

    def keep(points, densities, path, **settings):
        given.append((points, densities, settings))
        return path

    monkeypatch.setattr(densities.marginals, "density_maps", keep)
    return given


def test_densities_in_the_plane_are_drawn_in_the_users_units(drawn, tmp_path):
    columns = (
        Column("height", origin=170.0, unit=10.0),
        Column("weight", origin=70.0, unit=2.0),
    )
    made = densities.draw_density(plane(columns), tmp_path)
    assert made == [tmp_path / "density.png"]
    ((points, maps, settings),) = drawn
    assert settings["names"] == ("height", "weight")
    low, high = settings["box"].T
    assert ((points > low) & (points < high)).mean() > 0.98
    assert (low < [150, 66]).all()
    assert (high > [190, 74]).all()
    at = np.array([[170.0, 70.0], [180.0, 72.0]])
    normal = stats.norm([170, 70], [10, 2]).logpdf(at).sum(1)
    floats.assert_close(maps["Teacher"](at), normal, 1e-5)
    wide = stats.norm([170, 70], [20, 4]).logpdf(at).sum(1)
    floats.assert_close(maps["Student"](at), wide, 1e-5)


def test_a_conditional_density_is_that_of_a_test_row_in_the_middle(drawn, tmp_path):
    evaluation = plane(conditional=True)
    densities.draw_density(evaluation, tmp_path)
    ((points, maps, settings),) = drawn
    assert points is None
    assert settings["title"] == "plane, given condition 0 = 30"
    x = np.zeros((4, 2))
    wanted = evaluation.models["teacher"].log_prob(x, np.full((1, 1), 30.0))
    floats.assert_close(maps["Teacher"](x), wanted, 1e-5)


def test_other_densities_are_not_drawn(drawn, tmp_path, trained):
    assert densities.draw_density(evaluation(trained), tmp_path) == []
    whole = (Column("a", "integer", then="standardise"), Column("b"))
    assert densities.draw_density(plane(whole), tmp_path) == []
    assert drawn == []
