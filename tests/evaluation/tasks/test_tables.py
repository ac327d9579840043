"""What flows of tables are measured to be: conditions, weights, the table's units."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.data.transformed import fitted
from fdnf.evaluation.scorers import calibration, vectors
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.tasks import evaluate
from fdnf.evaluation.tasks import vectors as task
from fdnf.flows import build as flows
from fdnf.train import preprocess
from fdnf.train.teachers import Trained
from tests import floats, tiny
from tests.evaluation import whole

DRAW = np.random.default_rng(0)
INCOME, AGE = DRAW.lognormal(9, 1, 400), DRAW.integers(18, 80, 400)
ROWS = np.stack([INCOME, DRAW.poisson(2, 400)], axis=1)
WEIGHTS = DRAW.uniform(0, 2, 400)
CUT = (slice(0, 300), slice(300, 340), slice(340, 400))
DATA = fitted(
    "people",
    [ROWS[cut] for cut in CUT],
    ["income", "children"],
    [AGE[cut, None] for cut in CUT],
    ["age"],
    [WEIGHTS[cut] for cut in CUT],
)
CONFIG = tiny.config()


@pytest.fixture(scope="module")
def trained():
    config = tiny.config()
    config.model.args.update(steps=1)
    flow = flows.build(config.model)
    prepared = preprocess.make(config.data, DATA)
    x = jnp.asarray(vectors.seen(DATA, "train")[:50])
    cond = prepared.condition(None, jnp.asarray(DATA.conditions[0][:50]))
    made = jax.jit(flow.init)(jax.random.key(0), x, cond)
    variables = {"constants": {}, **jax.tree.map(lambda leaf: leaf[None], made)}
    meta = {"event": [2], "preprocess": preprocess.describe(prepared)}
    return Trained(flow, variables, config, meta)


@pytest.fixture(scope="module")
def evaluation(trained):
    return Evaluation(DATA, CONFIG.eval, {"teacher": trained})


@pytest.fixture(scope="module")
def found(evaluation):
    results = evaluate.measure(evaluation)
    assert {run.method for run, _ in results} == {"teacher", "training"}
    return whole.of_method(results, "teacher")[0]


def test_likelihoods_are_of_the_tables_units_and_weighted(found, trained):
    assert evaluate.of(DATA).takes(trained)
    # The same noise is no matter: one draw of it, of few rows.
    each = trained.log_prob(ROWS[CUT[2]], AGE[CUT[2], None], draws=64)
    share = WEIGHTS[CUT[2]] / WEIGHTS[CUT[2]].sum()
    score = found.get("log_likelihood", split="test")
    np.testing.assert_allclose(score.value, share @ each, atol=0.05)
    expected = np.sqrt(np.sum((share * (each - share @ each)) ** 2) * 60 / 59)
    np.testing.assert_allclose(score.se, expected, rtol=0.05, atol=0)
    # An income has a density of about 1e-5 in units of one.
    assert score.value < -10


def test_samples_are_given_the_conditions_of_test_rows(found, trained):
    assert found.get("sliced_wasserstein", split="test").value < 1.5
    assert found.get("exploded_percent", split="test").value < 20
    drawn = vectors.samples(trained, 0, 200, 3, DATA)
    assert drawn.shape == (200, 2)
    rows = vectors.chosen(DATA, 200)
    counts = np.bincount(rows, minlength=60)
    expected = WEIGHTS[CUT[2]] / WEIGHTS[CUT[2]].sum()
    np.testing.assert_allclose(counts / 200, expected, atol=1.5 / 60)
    # In the flow's space.
    cond = trained.preprocess.condition(None, jnp.asarray(DATA.conditions[2][rows]))
    flow, variables = trained.flow, jax.tree.map(lambda a: a[0], trained.variables)
    x = flow.apply(variables, jax.random.key(3), (200, 2), 1.0, cond, method="sample")
    floats.assert_close(drawn, x, 1e-4)
    assert found.get("density_ms").value > 0
    assert found.get("sampling_ms").value > 0


def test_pictures_and_samples_have_names_and_units(
    evaluation, trained, tmp_path, monkeypatch
):
    seen = {}

    def of_samples(shown, folder, names=()):
        seen.update(shown, names=names)
        return []

    monkeypatch.setattr(task.marginals, "of_samples", of_samples)
    task.draw(evaluation, tmp_path)
    assert seen["names"] == ("income", "children")
    data = seen["data"]
    # Rows of the test split, as often as they count.
    assert {*np.round(data[:, 0])} <= {*np.round(INCOME[CUT[2]])}
    for rows in (data, seen["Teacher"]):
        assert (rows[:, 0] > 0).all()
        assert (rows[:, 1] == np.round(rows[:, 1])).all()

    monkeypatch.setattr(task.datasets, "build", lambda config: DATA)
    archive, table, *_ = task.sample(trained, tmp_path, 0)
    head, *lines = table.read_text().splitlines()
    assert (table.name, head) == ("samples.csv", "age,income,children")
    with np.load(archive) as arrays:
        assert arrays["columns"].tolist() == ["income", "children"]
        assert arrays["condition_columns"].tolist() == ["age"]
        rows = vectors.chosen(DATA, len(arrays["run_0"]))
        assert arrays["conditions"][:, 0].tolist() == AGE[CUT[2]][rows].tolist()
        assert 1e3 < np.median(arrays["run_0"][:, 0]) < 1e5
        written = np.array([line.split(",") for line in lines], float)
        np.testing.assert_array_equal(written[:, 1:], arrays["run_0"])
        np.testing.assert_array_equal(written[:, :1], arrays["conditions"])


def test_calibration_is_column_by_column(evaluation, trained, monkeypatch):
    # Of fewer rows than 200 nothing is said.
    assert calibration.of(evaluation, "teacher", trained, 0) is None
    monkeypatch.setattr(calibration, "FEWEST", 10)
    monkeypatch.setattr(calibration, "DRAWS", 20)
    evaluation = dataclasses.replace(evaluation, shared={})
    context = Context(evaluation, "teacher", 0)
    found = {(s.metric, s.item, s.given): s for s in calibration.scores(context)}
    names = DATA.columns.names
    assert {item for _, item, _ in found} == {*names}
    measured = calibration.of(evaluation, "teacher", trained, 0)
    count = min(60, CONFIG.eval.samples)
    assert measured.pit.shape == measured.crps.shape == (count, 2)
    # In the table's units: a column's scores are of the size of its spread.
    for index, name in enumerate(names):
        score = found["crps", name, ""]
        assert score.n == count
        spread = ROWS[CUT[2], index].std()
        assert 0.05 * spread < score.value < 1.5 * spread
        assert 0 < found["pit_ks", name, ""].value < 1
        assert 0 <= found["coverage_50", name, ""].value <= 100
    rows = ROWS[CUT[2]][vectors.chosen(DATA, count)]
    np.testing.assert_allclose(measured.x, rows, rtol=1e-4, atol=1e-3)
    plain = dataclasses.replace(
        evaluation, data=DATA._replace(conditions=None), shared={}
    )
    assert calibration.of(plain, "teacher", trained, 0) is None
