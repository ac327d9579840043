"""Tables with transforms, conditions and weights: what the step sees, and training."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import build as flows
from fdnf.train import loop, objectives, pools, preprocess, teachers, validation
from fdnf.train import weights as of_rows
from fdnf.train.batches import Moment
from fdnf.train.preprocess import Preprocess
from fdnf.train.settings import ConfigError
from fdnf.train.table import Table
from fdnf.train.writers import read_log
from fdnf.transforms import Column, Columns
from tests import floats, mixed, tiny

DATA = mixed.table()
PREPARED = preprocess.make(None, DATA)
X, COND = mixed.units()
CONFIG = mixed.config()
FLOW = flows.build(CONFIG.model)


@pytest.fixture(scope="module")
def untrained():
    """A flow on the table at its first parameters."""
    batch = {"x": jnp.asarray(DATA.train), "beside": jnp.asarray(DATA.conditions[0])}
    seen = PREPARED.train(jax.random.key(0), batch)
    made = jax.jit(FLOW.init)(jax.random.key(1), seen["x"], seen["cond"])
    made = jax.tree.map(lambda leaf: leaf[None], made)
    variables = {"constants": {}, **made}
    described = preprocess.describe(PREPARED)
    meta = {"event": [3], "preprocess": described}
    return teachers.Trained(FLOW, variables, CONFIG, meta)


def test_it_survives_its_description():
    assert isinstance(PREPARED, Table)
    found = preprocess.restore(preprocess.describe(PREPARED))
    assert found == PREPARED
    assert hash(found) == hash(PREPARED)
    assert PREPARED.condition_shape((3,)) == (2,)


def test_plain_vectors_pass_as_they_did():
    plain = DATA._replace(
        columns=None, conditions=None, condition_columns=None, weights=None
    )
    assert preprocess.make(None, plain) == Preprocess()


def test_the_step_sees_columns_and_conditions_of_about_unit_spread():
    batch = {"x": jnp.asarray(DATA.train), "beside": jnp.asarray(DATA.conditions[0])}
    seen = PREPARED.train(jax.random.key(0), batch)
    assert seen.keys() == {"x", "cond"}
    for part in seen.values():
        assert np.abs(np.asarray(part).mean(0)).max() < 0.5
        assert 0.6 < np.asarray(part).std(0).min()
        assert np.asarray(part).std(0).max() < 1.5
    again = PREPARED.train(jax.random.key(1), batch)
    # Noise falls on whole numbers, and on nothing else.
    same = np.asarray(again["x"] == seen["x"])
    assert same[:, [0, 2]].all()
    assert not same[:, 1].any()
    np.testing.assert_array_equal(again["cond"], seen["cond"])


def test_densities_are_in_the_users_units(untrained):
    """Against the density of the flow's data, by finite differences of the columns."""
    rows, given = X[:8].copy(), COND[:8]
    found = untrained.log_prob(rows, given, draws=1)
    stored = DATA.columns.store(rows)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), 0)
    y, _ = PREPARED.encode(key, jnp.asarray(stored))
    beside = jnp.asarray(DATA.condition_columns.store(given))
    cond = PREPARED.condition(None, beside)
    flow, variables = teachers.run_of(untrained)
    inner = flow.apply(variables, y, cond, method="log_prob")
    slopes = []
    for index, column in enumerate(DATA.columns.columns):
        at = np.asarray(y, np.float64)[:, index]
        if column.whole:
            # One whole number is so far from the next.
            slopes.append(np.full(8, -math.log(column.width * column.std)))
            continue
        step = 1e-6
        ends = [column.decode(at + sign * step) for sign in (1, -1)]
        slopes.append(np.log(2 * step / (ends[0] - ends[1])))
    floats.assert_close(found, inner + sum(slopes), rtol=1e-4)
    more = untrained.log_prob(rows, given, draws=16)
    assert np.abs(more - found).max() > 1e-3
    assert untrained.log_prob(rows, given, draws=16).tolist() == more.tolist()


def test_rows_beyond_the_columns_have_no_density(untrained):
    rows = X[:5].copy()
    rows[1, 0], rows[2, 1], rows[3, 2] = -1.0, 3.5, 1.5
    found = untrained.log_prob(rows, COND[0])
    assert np.isneginf(found).tolist() == [False, True, True, True, False]
    with pytest.raises(ValueError, match="row 4, column 'count' is nan"):
        untrained.log_prob(np.where(np.arange(15).reshape(5, 3) == 13, np.nan, rows))


def test_a_density_integrates_to_one():
    columns = Columns(
        (
            Column("a", "log", origin=0.0, mean=1.0, std=0.5, low=0.0),
            Column("b", "standardise", mean=3.0, std=2.0),
        )
    )
    x = jax.random.normal(jax.random.key(3), (32, 2))
    # Of a flow that is no identity.
    variables = jax.jit(FLOW.init)(jax.random.key(1), 1.3 * x + 0.4)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    lead = jax.tree.map(lambda leaf: leaf[None], {"constants": {}, **variables})
    described = preprocess.describe(Table(columns))
    trained = teachers.Trained(
        FLOW, lead, CONFIG, {"event": [2], "preprocess": described}
    )
    drawn = trained.sample(0, 4096)
    low, high = np.log(drawn[:, 0]).min() - 1, np.log(drawn[:, 0]).max() + 1
    a = np.exp(np.linspace(low, high, 201))
    b = np.linspace(drawn[:, 1].min() - 4, drawn[:, 1].max() + 4, 201)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(trained.log_prob(grid)).reshape(201, 201)
    whole = np.trapezoid(np.trapezoid(density, b, axis=1), a)
    assert abs(whole - 1) < 0.01


def test_samples_are_in_the_users_units(untrained):
    drawn = untrained.sample(0, 50, COND[:50])
    assert drawn.dtype == np.float64
    assert (drawn[:, 0] > 0).all()
    np.testing.assert_array_equal(drawn[:, 1], np.round(drawn[:, 1]))
    assert ((drawn[:, 2] >= 0) & (drawn[:, 2] <= 1)).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"columns": mixed.columns(80)[0]},
            "of the columns, the teacher saw Column.name='price'.* the student sees",
        ),
        (
            {"columns": Columns(tuple(reversed(DATA.columns.columns)))},
            "columns are price, count, share, the student's share, count, price",
        ),
        ({"conditions": 3, "condition_columns": None}, "was given 2 conditions, the"),
        ({"columns": None}, "the teacher saw Table"),
    ],
)
def test_a_teacher_of_other_columns_is_refused(untrained, changes, text):
    other = dataclasses.replace(PREPARED, **changes)
    with pytest.raises(ConfigError, match=text):
        teachers.match(untrained, (3,), 1, other)
    teachers.match(untrained, (3,), 1, PREPARED)


def test_a_teachers_samples_are_drawn_for_conditions_of_the_data(untrained):
    weights, conditions = DATA.weights[0], DATA.conditions[0]
    made = pools.generate(untrained, 60, 0, conditions=conditions, weights=weights)
    x, beside = made["generated"], made["generated_beside"]
    assert x.shape == (60, 3)
    known = {tuple(row) for row in conditions[weights > 0]}
    assert {tuple(row) for row in beside} <= known
    # As they are stored: whole numbers are whole.
    np.testing.assert_array_equal(x[:, 1], np.round(x[:, 1]))
    as_made = pools.generate(untrained, 60, 0, stored=False, conditions=conditions)
    assert (as_made["generated"][:, 1] % 1 > 0).any()
    with pytest.raises(ValueError, match="needs conditions beside"):
        pools.generate(untrained, 60, 0)


def test_a_weighted_likelihood_is_that_of_rows_that_stand_there_as_often(untrained):
    counts = np.arange(len(DATA.val)) % 3
    weighed = (DATA.weights[0], counts.astype(np.float32), DATA.weights[2])
    repeated = np.repeat(np.arange(len(counts)), counts)
    # What does not count need not have a density.
    far = DATA.val.copy()
    far[0] = 3e38
    many = DATA._replace(
        val=DATA.val[repeated],
        conditions=(
            DATA.conditions[0],
            DATA.conditions[1][repeated],
            DATA.conditions[2],
        ),
        weights=None,
    )
    # Noise goes by the place in a batch, so of whole numbers there are none here.
    columns = dataclasses.replace(
        DATA.columns, columns=tuple(Column(n) for n in mixed.NAMES)
    )
    prepared = dataclasses.replace(PREPARED, columns=columns)
    params, constants = (untrained.variables[k] for k in ("params", "constants"))
    found = [
        validation.by_likelihood(FLOW, data, prepared, 64)(params, constants, None)
        for data in (DATA._replace(weights=weighed, val=far), many)
    ]
    assert found[0].without == [[]]
    floats.assert_close(found[0].loss, found[1].loss)
    floats.assert_close(
        found[0].scalars["val_log_prob"], found[1].scalars["val_log_prob"]
    )


def test_rows_in_proportion_to_whole_weights_stand_as_often():
    counts = np.array([0, 3, 1, 0, 2, 0])
    found = of_rows.in_proportion(counts / 1.0, 6)
    np.testing.assert_array_equal(np.bincount(found, minlength=6), counts)
    np.testing.assert_array_equal(of_rows.in_proportion(None, 4), np.arange(4))


SHORT = {"steps": 6, "steps_per_call": 3, "log_every": 3, "eval_every": 3}


# In CI a student is trained on the table, below, and goes on as in `test_resume`.
@pytest.mark.slow
def test_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    config = mixed.config(**SHORT)
    loop.train_and_evaluate(config, tmp_path / "unbroken")
    tiny.undone(tmp_path / "unbroken", tmp_path / "killed", 3)
    loop.train_and_evaluate(config, tmp_path / "killed")
    logs = [read_log(tmp_path / name) for name in ("killed", "unbroken")]
    tiny.same_rows(*logs)
    tiny.same_best(tmp_path / "killed", tmp_path / "unbroken")
    trained = teachers.load(tmp_path / "unbroken")
    assert trained.preprocess == PREPARED
    values = trained.log_prob(*(part[80:120] for part in (X, COND)), draws=64)
    mean = np.average(values, weights=DATA.weights[1])
    best = max(row["val_log_prob"][0] for row in logs[1])
    # One draw of noise against the mean of many.
    assert abs(mean - best) < 0.3


@pytest.fixture(scope="module")
def teacher(untrained, tmp_path_factory):
    from fdnf.train import checkpoint, settings

    workdir = tmp_path_factory.mktemp("teacher")
    best = validation.first_best(untrained.variables["params"], {}, 1)
    config = mixed.config("ilkd").teacher.config
    meta = {"config": settings.to_dict(config), **untrained.meta}
    with checkpoint.Checkpointer(workdir) as checkpointer:
        checkpointer.save(6, {"w": np.zeros(2)}, best, meta)
    return workdir


def student(method):
    """A config of two steps, of a flow or, for what learns to sample, its inverse."""
    flow = method in ("lkd", "ilkd", "skd")
    steps = {"steps": 2, "steps_per_call": 2, "log_every": 2, "eval_every": 2}
    config = mixed.config(method if flow else "ilkd", **steps)
    if not flow:
        config.model.name = "iaf"
        config.loss = {"method": method, "transfer": {"noise": 0.1}}
        config.loss.skd = {"reach": 3.0}
    if method in ("skd", "oracle"):
        config.teacher.samples, config.teacher.share = 40, 0.5
    if method == "oracle":
        config.teacher.share = 1.0
    return config


# In CI conditions reach each loss, below, but not those of SKD's own samples.
@pytest.mark.slow
@pytest.mark.parametrize("method", ["oracle", "skd", "kl"])
def test_a_student_learns_given_conditions(method, teacher, tmp_path):
    config = student(method)
    config.teacher.workdir = str(teacher)
    loop.train_and_evaluate(config, tmp_path)
    (row,) = read_log(tmp_path)
    assert row["skipped_steps"] == [0]
    assert np.isfinite(row["loss"]).all()
    measure = validation.LIKELIHOOD if method == "skd" else validation.LOSS
    assert np.isfinite(row[measure]).all()


SAMPLERS = ("kl", "z", "x", "oracle")
METHODS = ("lkd", "ilkd", "skd", *SAMPLERS)


def test_each_loss_sees_the_condition_of_each_row(untrained):
    """It is another where the conditions are those of other rows."""
    _, taught = teachers.run_of(untrained)
    stored = {"x": jnp.asarray(DATA.train), "beside": jnp.asarray(DATA.conditions[0])}
    batch = PREPARED.train(jax.random.key(0), stored)
    conds = jnp.stack([batch["cond"], jnp.roll(batch["cond"], 1, axis=0)])
    moment = Moment(jax.random.key(2), jnp.asarray(0))
    models = {name: flows.build(student(name).model) for name in ("ilkd", "kl")}
    losses = {
        method: objectives.build(
            student(method), models["kl" if method in SAMPLERS else "ilkd"], FLOW, 3.0
        )
        for method in METHODS
    }

    @jax.jit
    def everything():
        variables = {
            name: model.init(jax.random.key(1), batch["x"], batch["cond"])
            for name, model in models.items()
        }

        def of(method, cond):
            params = variables["kl" if method in SAMPLERS else "ilkd"]
            return losses[method](params, taught, batch | {"cond": cond}, moment)[0]

        return {m: jax.vmap(functools.partial(of, m))(conds) for m in METHODS}

    for method, values in everything().items():
        assert np.isfinite(values).all(), method
        assert abs(values[0] - values[1]) > 1e-4, method
