"""Arrays in memory as data sets: names, splits, weights, and what they leave behind."""

import types

import numpy as np
import pytest

from fdnf.data import build, memory
from fdnf.data.tabular import DataError
from tests import floats

X = np.random.default_rng(0).normal(size=(40, 2)) * [1.0, 50.0] + [0.0, 1e6]


class Frame:
    """A data frame, as far as it is looked at."""

    columns = ("age", "income")
    shape, ndim = X.shape, 2

    def __array__(self, dtype=None, copy=None):
        return np.array(X, dtype)


def test_names_are_those_of_a_data_frame():
    assert memory.taken(Frame()).names == ("age", "income")
    found = memory.taken(X.tolist(), cond=np.arange(40))
    assert (found.names, found.cond_names) == (("x0", "x1"), ("c0",))
    assert found.x.dtype == found.cond.dtype == np.float64


def test_a_split_is_of_all_rows_and_by_its_seed():
    rows = memory.taken(X, weights=np.arange(1.0, 41.0))
    train, held_out, picked = memory.split(rows, 0.25, 3)
    assert (len(train.x), len(held_out.x)) == (30, 10)
    together = np.sort(np.concatenate([train.x, held_out.x])[:, 0])
    np.testing.assert_array_equal(together, np.sort(X[:, 0]))
    np.testing.assert_array_equal(train.x, X[picked])
    np.testing.assert_array_equal(train.weights, picked + 1.0)
    np.testing.assert_array_equal(memory.split(rows, 0.25, 3)[2], picked)
    assert (memory.split(rows, 0.25, 4)[2] != picked).any()
    own = memory.split(rows, (X[:5], None, np.ones(5)), 0)
    assert (len(own[0].x), len(own[1].x)) == (40, 5)


def test_transforms_by_name_place_or_for_all():
    train, held_out, _ = memory.split(memory.taken(Frame()), 0.5, 0)
    kinds = [
        [column.kind for column in memory.table(train, held_out, given).columns.columns]
        for given in ("standardise", {1: "asinh"}, {"age": "asinh"}, "asinh", "auto")
    ]
    assert kinds[:4] == [
        ["standardise", "standardise"],
        ["standardise", "asinh"],
        ["asinh", "standardise"],
        ["asinh", "asinh"],
    ]
    assert kinds[4] == ["standardise", "standardise"]
    made = memory.table(train, held_out)
    assert np.abs(made.train.mean(0)).max() < 1e-5
    plain = memory.table(train, held_out, None)
    assert plain.columns is None
    np.testing.assert_array_equal(plain.train, train.x.astype(np.float32))


def test_weights_have_mean_one_with_and_without_transforms():
    rows = memory.taken(X, weights=np.arange(40.0))
    train, held_out, _ = memory.split(rows, 0.25, 0)
    for transforms in ("standardise", None):
        made = memory.table(train, held_out, transforms)
        assert np.isclose(made.weights[0].mean(), 1)
        ratio = made.weights[1] / held_out.weights
        floats.assert_close(ratio, 1 / train.weights.mean())


@pytest.mark.parametrize("name", [memory.VECTORS, memory.PICTURES])
def test_what_was_in_memory_is_not_found_again(name):
    with pytest.raises(DataError, match=r"not kept: take fdnf.load\(workdir\)"):
        build.build(types.SimpleNamespace(name=name, args={}))
