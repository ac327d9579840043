"""A user's own table from the raw file to samples and densities in its units."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import csv

from configs import table as config_of_tables
from fdnf.data import transformed
from fdnf.train import loop, settings, teachers
from tests import flagged

ROOT = pathlib.Path(__file__).parents[1]
PERIODIC = {"angle": {"kind": "periodic", "period": 360}}
TINY = {"steps": 1, "hidden": (8,)}  # Of a NICE.


def made(rows, seed=0):
    """Six columns that depend on two conditions, `age` and `group`, and each other."""
    draw = np.random.default_rng(seed)
    age, group = draw.uniform(20, 70, rows), draw.integers(0, 2, rows)
    z = draw.normal(size=(rows, 4))
    share = 1 / (1 + np.exp(-(0.8 * z[:, 0] + 1.2 * z[:, 1] + group - 0.5)))
    return {
        "income": np.exp(8.5 + 0.03 * (age - 20) + 0.4 * group + 0.5 * z[:, 0]),
        "children": draw.poisson(np.exp(0.2 + 0.02 * (age - 45) + 0.3 * group)),
        "share": share,
        "change": 0.4 * z[:, 1] + 2 * draw.standard_t(2, rows),
        "angle": np.mod(30 * z[:, 2] + 90 * group + 330, 360),
        # Nearly constant: of its digits the last three differ.
        "level": 1e6 + 1e-3 * (z[:, 3] + (age - 45) / 30),
        "age": age,
        "group": group,
    }


COLUMNS, CONDITIONS = list(made(1))[:6], list(made(1))[6:]


def write(path, table):
    csv.write_csv(pyarrow.table(table), str(path))
    return str(path)


def check_units(rows):
    """Samples are such as the table could have."""
    income, children, share, _, angle, level = rows.T
    assert np.isfinite(rows).all()
    assert (income > 0).all()
    assert (children == np.round(children)).all()
    assert (children >= 0).all()
    assert ((share >= 0) & (share <= 1)).all()
    assert ((angle >= 0) & (angle < 360)).all()
    assert (np.abs(level - 1e6) < 0.1).all()
    # Not rounded to what float32 keeps of a million, which is 0.06.
    assert len(np.unique(level)) > 0.9 * len(level)


def test_one_command(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(ROOT)
    # What an earlier test of this process told is not told again.
    monkeypatch.setattr(transformed, "_told", set())
    path = write(tmp_path / "people.csv", made(600))
    arguments = [
        "--config=configs/table.py:smoke",
        f"--config.data.path={path}",
        "--config.data.conditions=age,group",
        f"--config.data.transforms={PERIODIC}",
        "--config.model.name=nice",
        f"--config.model.args={TINY}",
        f"--workdir={tmp_path / 'run'}",
    ]
    with caplog.at_level("INFO", "fdnf"):
        assert flagged.run(*arguments) == 0
    assert "Test log-likelihood (nats)" in capfd.readouterr().out
    told = [record.message for record in caplog.records]
    for line in (
        "column income: log (all positive, skewness",
        "column children: integer (whole numbers from 0 to",
        "column share: box (",
        "column change: asinh (heavy tails, kurtosis",
        "column angle: periodic (as told; period 360",
        "column level: standardise (",
        "condition group: standardise (",
    ):
        assert sum(each.startswith(line) for each in told) == 1
    assert (tmp_path / "run" / "figures" / "marginals.png").exists()

    trained = teachers.load(tmp_path / "run")
    given = np.array([[30.0, 0.0], [60.0, 1.0]])
    rows = trained.sample(0, 400, np.repeat(given, 200, axis=0))
    check_units(rows)
    table = made(20, seed=5)
    x, cond = (
        np.stack([table[name] for name in names], axis=1)
        for names in (COLUMNS, CONDITIONS)
    )
    assert np.isfinite(trained.log_prob(x, cond)).all()
    x[3, 0], x[7, 1] = -1.0, 0.5
    outside = np.flatnonzero(trained.log_prob(x, cond) == -np.inf)
    assert outside.tolist() == [3, 7]


# A student sees what its teacher sees, which in CI `test_fitting` says.
@pytest.mark.parametrize(
    "names", [["teacher"], pytest.param(["teacher", "student"], marks=pytest.mark.slow)]
)
def test_densities_integrate_to_one(names, tmp_path):
    table = {k: v for k, v in made(600).items() if k in ("income", "share", "age")}
    path = write(tmp_path / "two.csv", table)
    changes = {"data.path": path, "data.conditions": "age"}
    changes |= {"model.name": "nice", "model.args": TINY}
    teacher = config_of_tables.get_config("smoke")
    settings.override(teacher, changes)
    loop.train_and_evaluate(teacher, tmp_path / "teacher")
    if "student" in names:
        student = config_of_tables.get_config("ilkd,smoke")
        changes["teacher.workdir"] = str(tmp_path / "teacher")
        settings.override(student, changes)
        loop.train_and_evaluate(student, tmp_path / "student")
    for name in names:
        trained = teachers.load(tmp_path / name)
        columns = trained.preprocess.columns
        assert [column.kind for column in columns.columns] == ["log", "box"]
        line = np.linspace(-7, 7, 300)
        # Points of the table's units, dense where its rows are.
        ends = columns.decode(np.stack([line, line], axis=1)).T
        income, share = (np.unique(end) for end in ends)
        grid = np.stack(np.meshgrid(income, share, indexing="ij"), axis=-1)
        for age in (25.0, 65.0):
            log_p = trained.log_prob(grid.reshape(-1, 2), np.array([age]))
            p = np.exp(log_p).reshape(len(income), len(share))
            mass = np.trapezoid(np.trapezoid(p, share, axis=1), income)
            np.testing.assert_allclose(mass, 1, atol=0.01)


def refuses(capfd, tmp_path, *arguments):
    """What the command says of arguments that it must refuse before any training."""
    run = tmp_path / "run"
    words = ["--config=configs/table.py:smoke", f"--workdir={run}"]
    assert flagged.run(*words, *arguments) == 2
    assert not (run / "checkpoints").exists()
    return capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"share": np.full(90, 0.5)}, {}, "column 'share': is constant, 0.5"),
        ({"city": ["Rome", "Oslo", "Bern"] * 30}, {}, "column 'city': it holds text"),
        ({"age": [None, *range(89)]}, {}, "missing"),
        ({}, {"columns": "incom,share"}, "Did you mean 'income'?"),
        ({}, {"colums": "income"}, "'table' has no such key; it has columns"),
        (
            {},
            {"conditions": "age", "columns": "age,share"},
            "in columns and conditions",
        ),
    ],
)
def test_wrong_tables_are_one_line_before_training(
    tmp_path, monkeypatch, capfd, changes, options, said
):
    monkeypatch.chdir(ROOT)
    path = write(tmp_path / "people.csv", made(90) | changes)
    given = [f"--config.data.{key}={value}" for key, value in options.items()]
    err = refuses(capfd, tmp_path, f"--config.data.path={path}", *given)
    assert said in err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("fdnf: ")]
    assert said in line


def test_a_table_that_is_not_named(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    err = refuses(capfd, tmp_path)
    assert "--config.data.path=rows.csv" in err


# Probabilities at which samples and data are compared.
AT = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)


def disagreement(data, samples):
    """Of each column how far, in probability, a quantile of samples is off at most.

    Data with equal values have a range of probabilities at one quantile.
    """
    found = {}
    for name, x, y in zip(COLUMNS, data.T, samples.T, strict=True):
        off = [0.0]
        for p in AT:
            at = np.quantile(y, p)
            off += [(x < at).mean() - p, p - (x <= at).mean()]
        found[name] = float(max(off))
    return found


def command(*arguments):
    """Runs it as a user does, not as these tests do."""
    plain = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    subprocess.run(
        [sys.executable, "-m", "fdnf.main", "--config=configs/table.py:ilkd"]
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in plain},
        check=True,
        timeout=7200,
    )


@pytest.mark.slow
def test_a_raw_table_is_learned(tmp_path):
    """The acceptance of tables: one command, then samples for given conditions."""
    run = tmp_path / "run"
    command(
        f"--config.data.path={write(tmp_path / 'people.csv', made(20_000))}",
        "--config.data.conditions=age,group",
        f"--config.data.transforms={PERIODIC}",
        "--config.train.steps=4000",
        "--config.teacher.config.train.steps=4000",
        f"--workdir={run}",
    )
    # Conditions and rows that are not those of the file.
    fresh = made(40_000, seed=1)
    data = np.stack([fresh[name] for name in COLUMNS], axis=1)
    parts = {
        "all": fresh["age"] > 0,
        "group = 0": fresh["group"] == 0,
        "age > 55": fresh["age"] > 55,
    }
    asked = write(tmp_path / "asked.csv", {name: fresh[name] for name in CONDITIONS})
    report = {}
    for name in ("teacher", "ilkd"):
        out = tmp_path / f"{name}.csv"
        command(
            *("--mode=sample", f"--conditions={asked}", "--samples=1"),
            *(f"--workdir={run / name}", f"--out={out}"),
        )
        found = csv.read_csv(out)
        samples = np.stack([found[column].to_numpy() for column in COLUMNS], axis=1)
        check_units(samples)
        for part, rows in parts.items():
            report[f"{name}, {part}"] = disagreement(data[rows], samples[rows])
    print(json.dumps(report, indent=1))
    for found in report.values():
        assert max(found.values()) < 0.02, report
