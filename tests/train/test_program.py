"""The first batch of a training, and what is said of it."""

from types import SimpleNamespace

import jax
import numpy as np

from fdnf.data.tabular import Tabular
from fdnf.train import program
from fdnf.train.preprocess import Preprocess


def said(caplog, rows, **changes):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    for column, value in changes.items():
        x[:, int(column[1:])] = value
    caplog.clear()
    data = Tabular("made", x, x, x, "drawn here")
    program.first_batches(data, Preprocess(), rows, [0, 1])
    return [record.getMessage() for record in caplog.records]


def test_columns_that_do_not_vary_are_named_once(caplog):
    assert said(caplog, 30) == []
    (message,) = said(caplog, 30, x1=2.5)
    assert "constant in column 1 (2.5)" in message
    assert "train.init_rows" in message


def test_a_first_batch_of_one_row_is_told(caplog):
    (message,) = said(caplog, 1)
    assert "one row" in message


def test_which_runs_are_alike(monkeypatch):
    def alike(*given, runs=1, devices=1):
        monkeypatch.setattr(jax, "device_count", lambda: devices)
        config = SimpleNamespace(runs=runs)
        members = [SimpleNamespace(teacher=t, config=config) for _, t in given]
        return program._alike(members, [seed for seed, _ in given])

    a, b = (0, "teacher"), (1, "another")
    assert alike(a, a, b, b) == alike(*4 * [a], b, b) == 2
    assert (
        alike(a, b, a, b) == alike(a, (0, "another")) == alike(a, (1, "teacher")) == 1
    )
    assert alike(a, a, b, b, runs=2) == 1
    assert alike(a, a, b, b, devices=2) == 1
