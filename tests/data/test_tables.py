import logging

import ml_collections
import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

from fdnf.data import build, tables
from fdnf.data.tabular import DataError
from tests.floats import assert_close

ROWS = 400


def columns(rows=ROWS, seed=0):
    draw = np.random.default_rng(seed)
    return {
        "income": draw.lognormal(9, 1, rows),
        "children": draw.poisson(1.8, rows),
        "far": 1e9 + draw.normal(size=rows),
        "angle": np.mod(draw.normal(10, 30, rows), 360),
        "age": draw.integers(18, 90, rows),
        "heat": draw.normal(20, 5, rows),
        "weight": draw.uniform(0.5, 2, rows),
    }


@pytest.fixture
def save(tmp_path):
    def written(name="rows.csv", **changes):
        made = columns() | changes
        made = {key: value for key, value in made.items() if value is not None}
        table = pyarrow.table(made)
        writer = csv.write_csv if name.endswith("csv") else parquet.write_table
        writer(table, str(tmp_path / name))
        return str(tmp_path / name)

    return written


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_table_by_names(save, name, caplog):
    transforms = {"angle": {"kind": "periodic", "period": 360}}
    with caplog.at_level(logging.INFO, "fdnf"):
        data = tables.table(
            save(name),
            conditions="age,heat",
            weights="weight",
            transforms=transforms | {"heat": "standardise"},
        )
    assert data.name == "rows"
    assert [len(part) for part in data[1:4]] == [320, 40, 40]
    assert data.columns.names == ("income", "children", "far", "angle")
    kinds = [column.kind for column in data.columns.columns]
    assert kinds == ["log", "integer", "standardise", "periodic"]
    assert data.condition_columns.names == ("age", "heat")
    assert data.condition_columns.noisy == 0
    assert [part.shape for part in data.conditions] == [(320, 2), (40, 2), (40, 2)]
    # In the user's units they are the rows of the file, each once.
    x = columns()
    whole = data.columns.decode(np.concatenate(data[1:4])[:, [0, 0, 2, 3]])
    assert_close(np.sort(whole[:, 2] - 1e9), np.sort(x["far"] - 1e9), 1e-5)
    by_far, by_mine = np.argsort(whole[:, 2]), np.argsort(x["far"])
    assert_close(whole[by_far, 3], x["angle"][by_mine], 1e-5)
    ages = data.condition_columns.decode(np.concatenate(data.conditions))[:, 0]
    assert_close(ages[by_far], x["age"][by_mine].astype(float), 1e-5)
    weights = np.concatenate(data.weights)
    assert_close(
        weights[by_far] / weights[by_far][0], (w := x["weight"][by_mine]) / w[0]
    )
    np.testing.assert_allclose(data.weights[0].mean(), 1, atol=1e-6)
    # A line each, of what was chosen and why.
    if name == "rows.csv":
        lines = [record.message for record in caplog.records]
        assert len(lines) == 6
        assert lines[0].startswith("column income: log (all positive, skewness")
        assert lines[3].startswith("column angle: periodic (as told; period 360")
        assert lines[4].startswith("condition age: standardise (")


def test_transforms_are_fitted_to_training_rows_and_their_weights(save):
    made = columns()
    made["split"] = np.array(["train"] * 300 + ["val"] * 50 + ["test"] * 50)
    made["heat"][300:] += 100
    data = tables.table(save(**made), columns="heat", weights="weight", split="split")
    (column,) = data.columns.columns
    w, x = made["weight"][:300], made["heat"][:300]
    np.testing.assert_allclose(column.origin, w @ x / w.sum(), atol=1e-6)
    # In the order of the file.
    assert_close(data.columns.decode(data.test)[:, 0], made["heat"][350:], 1e-6)


def test_splits(save, tmp_path):
    path = save()
    get = dict(columns=["far"])
    one, same, other = (tables.table(path, **get, seed=seed) for seed in (0, 0, 1))
    assert (one.train == same.train).all()
    assert (one.train[:9] != other.train[:9]).any()
    parts = tables.table(path, **get, fractions=(0.5, 0.25, 0.25))
    assert [len(part) for part in parts[1:4]] == [200, 100, 100]

    for name, seed in (("val.csv", 5), ("test.csv", 6)):
        # Its columns stand in another order.
        csv.write_csv(
            pyarrow.table(dict(reversed(columns(70, seed).items()))),
            str(tmp_path / name),
        )
    both = tables.table(
        "rows.csv",
        **get,
        path_val="val.csv",
        path_test="test.csv",
        data_dir=str(tmp_path),
    )
    assert [len(part) for part in both[1:4]] == [400, 70, 70]
    assert_close(both.columns.decode(both.val)[:, 0], columns(70, 5)["far"], 1e-6)
    half = tables.table(path, **get, path_test=str(tmp_path / "test.csv"))
    assert [len(part) for part in half[1:4]] == [356, 44, 70]
    few = tables.table(path, **get, rows=50)
    assert [len(part) for part in few[1:4]] == [50, 40, 40]
    assert "50/40/40 rows" in few.source

    draw = np.random.default_rng(0)
    train, rest = draw.normal(size=(90, 3)), draw.normal(size=(9, 3))
    np.savez(tmp_path / "own.npz", train=train, val=rest, test=rest)
    own = tables.table(str(tmp_path / "own.npz"), conditions=[2])
    assert own.columns.names == ("0", "1")
    assert_close(own.columns.decode(own.train), train[:, :2], 1e-6)


def test_missing_values_are_refused_or_dropped(save):
    heat, far = columns()["heat"], columns()["far"]
    heat[[3, 77]], far[77] = np.nan, np.nan
    path = save(heat=heat, far=far, age=None)
    with pytest.raises(DataError) as caught:
        tables.table(path)
    assert "missing" in str(caught.value)
    assert "--config.data.missing=drop" in str(caught.value)
    data = tables.table(path, missing="drop")
    assert sum(map(len, data[1:4])) == ROWS - 2
    # Of columns that are not used nothing is asked.
    assert sum(map(len, tables.table(path, columns="income")[1:4])) == ROWS


def test_rows_beyond_what_training_shows_change_what_is_chosen(save, caplog):
    x = np.random.default_rng(0).uniform(0, 1, ROWS)
    die = np.random.default_rng(0).integers(1, 7, ROWS)
    income = columns()["income"]
    split = np.array(["train"] * 300 + ["val"] * 50 + ["test"] * 50)
    x[310], die[320], income[390] = 3.0, 9, -4.0
    path = save(x=x, die=die, income=income, split=split)
    with caplog.at_level(logging.INFO, "fdnf"):
        data = tables.table(path, columns="x,die,income", split="split")
    kinds = [(c.kind, c.then) for c in data.columns.columns]
    assert kinds == [
        ("standardise", ""),
        ("integer", "standardise"),
        ("asinh", ""),
    ]
    said = [record.message for record in caplog.records]
    assert said[0].endswith(
        "; box has no place for rows that are not for training, 1 of val"
    )
    assert said[2].endswith("1 of test")
    # What is told is not changed.
    with pytest.raises(
        DataError, match=r"split 'val': column 'x' \(box\): row 10 is 3"
    ):
        tables.table(
            path,
            columns="x",
            split="split",
            transforms={"x": {"kind": "box", "low": 0, "high": 1}},
        )


def test_rows_and_conditions_of_other_files(save, tmp_path):
    path = save()
    rows = tables.read_rows(path, ["heat", "age"])
    assert rows.dtype == np.float64
    assert_close(rows, np.stack([columns()["heat"], columns()["age"]], axis=1), 1e-12)
    with pytest.raises(DataError, match="no column 'heatt', which the command names"):
        tables.read_rows(path, ["heatt"])
    np.save(tmp_path / "a.npy", rows)
    assert_close(tables.read_rows(tmp_path / "a.npy", ["heat", "age"]), rows, 1e-12)
    with pytest.raises(DataError, match="no column 'heat'"):
        tables.read_rows(tmp_path / "a.npy", ["heat"])
    path = save(heat=np.append(columns()["heat"][1:], np.nan))
    with pytest.raises(DataError, match="missing in 1 of 400 rows .column 'heat' in 1"):
        tables.read_rows(path, ["heat"])


def test_by_a_config(save):
    config = ml_collections.ConfigDict(
        {
            "name": "table",
            "args": {
                "path": save(),
                "columns": ("income", "far"),
                "transforms": {"far": {"kind": "asinh", "scale": 2.0}},
            },
        }
    )
    data = build.build(config)
    assert [column.kind for column in data.columns.columns] == ["log", "asinh"]


def shifted(index, value, name="heat"):
    x = columns()[name].astype(float)
    x[index] = value
    return {name: x}


SPLITS = {"split": np.array(["train", "val", "tset", "test"] * 100)}


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        (
            {"heat": np.full(ROWS, 3.5)},
            {},
            "column 'heat': is constant, 3.5 in all 320",
        ),
        (shifted(7, np.nan), {}, "values are missing in 1 of .* .column 'heat' in 1"),
        (shifted(7, np.inf), {}, "column 'heat': infinite in 1 of"),
        ({"city": ["Rome", "Oslo"] * 200}, {}, "column 'city': it holds text"),
        ({"heat": 1e200 * columns()["heat"]}, {}, "'heat': goes from .*beyond 1e.150"),
        (
            {"heat": 2**53 + np.arange(ROWS)},
            {},
            "'heat': whole numbers from .* beyond what float64 tells apart",
        ),
        (
            {"heat": 1e15 + 0.125 * np.arange(ROWS)},
            {"transforms": {"heat": "standardise"}},
            None,
        ),
        (
            {},
            {"columns": "heat,agge"},
            "no column 'agge', which columns names. Did you",
        ),
        ({}, {"conditions": "agge"}, "which conditions names. Did you mean 'age'"),
        ({}, {"weights": "wieght"}, "which weights names. Did you mean 'weight'"),
        ({}, {"split": "age"}, r"column 'age': it holds '\d+'.*expected train, val or"),
        (SPLITS, {"split": "split"}, "it holds 'tset'; expected train, val or test"),
        (
            {"split": ["train", "val"] * 200},
            {"split": "split"},
            "of 400 rows none are left for test",
        ),
        (
            {},
            {"columns": "age", "conditions": "age"},
            "age is in columns and conditions",
        ),
        ({}, {"columns": "age", "weights": "age"}, "age is in columns and weights"),
        (
            {},
            {"conditions": "age", "weights": "age"},
            "age is in conditions and weights",
        ),
        ({}, {"weights": "age,heat"}, "weights names 2 columns, not one"),
        ({}, {"columns": ()}, "no column is left"),
        (shifted(7, -1.0, "weight"), {"weights": "weight"}, "negative in 1 rows.* -1;"),
        ({"weight": np.zeros(ROWS)}, {"weights": "weight"}, "all weights .* are 0"),
        ({}, {"transforms": {"incom": "log"}}, "transforms names 'incom'.*'income'"),
        ({}, {"transforms": {"heat": "logg"}}, "'heat': unknown kind 'logg'; did you"),
        ({}, {"transforms": {"heat": 3}}, "'heat': transforms has 3; expected a kind"),
        ({}, {"transforms": {"heat": {"low": 3}}}, "'heat': transforms has .*a kind"),
        ({}, {"transforms": {"heat": "integer"}}, "'heat': is not whole"),
        (
            {},
            {"transforms": {"angle": "periodic"}},
            "'angle': periodic needs its period",
        ),
        (
            {},
            {"conditions": "age", "transforms": {"age": "integer"}},
            "'age': a condition gets no noise",
        ),
        ({}, {"fractions": (0.8, 0.1)}, "expected three, of training"),
        ({}, {"fractions": (0.8, 0.1, 0.2)}, "that add up to 1"),
        ({}, {"fractions": (0.998, 0.001, 0.001)}, "none are left for test"),
        ({}, {"fractions": (0.04, 0.48, 0.48)}, "16 training rows are too few"),
        ({}, {"rows": 321}, "rows=321, but it has 320 training rows"),
        ({}, {"rows": 0}, "rows=0"),
        ({}, {"rows": 10}, "10 training rows are too few; expected at least 20"),
        ({}, {"missing": "ignore"}, "missing='ignore'; known: refuse, drop"),
        ({}, {"path_val": "nowhere.csv"}, "No such data file: nowhere.csv"),
    ],
)
def test_wrong_tables_and_options(save, changes, options, said):
    path = save(**changes)
    if said is None:
        tables.table(path, **options)
        return
    with pytest.raises(DataError, match=said) as caught:
        tables.table(path, **options)
    assert "\n" not in str(caught.value)
    named = {"missing", "path_val"} & {*options}
    assert path in str(caught.value) or named


def test_an_index_without_a_name_is_no_column(save):
    path = save(**{"": np.arange(ROWS)})
    with pytest.raises(
        DataError, match="column 7 has no name, as an index.*columns=inc"
    ):
        tables.table(path)
    assert tables.table(path, columns="income,heat").dim == 2


def test_without_a_file():
    with pytest.raises(DataError, match="No table is named.*--config.data.path=rows"):
        tables.table("")
