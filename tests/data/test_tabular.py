import numpy as np
import pytest

from fdnf.data import tabular
from fdnf.data.tabular import DataError, Tabular
from tests import floats


def make(**changes):
    rows = np.zeros((20, 3), np.float32)
    splits = {"train": rows, "val": rows[:4], "test": rows[:5]} | changes
    return Tabular("toy", **splits, source="made here")


def test_sound_data_pass_unchanged():
    data = make()
    assert tabular.validate(data) is data
    assert (data.dim, data.event) == (3, (3,))


def bad(value):
    val = np.zeros((4, 3), np.float32)
    val[2, 1] = value
    return val


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        *(
            ({"val": bad(value)}, "'toy', split 'val': row 2, column 1")
            for value in (np.nan, np.inf, -np.inf)
        ),
        (
            {"test": np.zeros((4, 2), np.float32)},
            "'test': has 2 columns, but 'train' has 3",
        ),
        ({"val": np.zeros((0, 3), np.float32)}, "'val': is empty"),
        ({"val": np.zeros((3, 0), np.float32)}, "'val': is empty"),
        ({"test": np.zeros(4, np.float32)}, r"expected shape .* got \(4,\)"),
        ({"train": np.zeros((4, 3))}, "expected a float32 numpy array, got float64"),
        ({"train": [[0.0, 0.0, 0.0]]}, "expected a float32 numpy array, got list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_are_named(changes, text):
    with pytest.raises(DataError, match=text):
        tabular.validate(make(**changes))


def test_limit_keeps_the_first_rows_and_says_so():
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    limited = tabular.limit(make(train=rows), 7)
    np.testing.assert_array_equal(limited.train, rows[:7])
    assert "first 7 of 20" in limited.source
    assert len(limited.test) == 5


def test_limit_of_all_rows_changes_nothing():
    data = make()
    assert tabular.limit(data, None) is data
    assert tabular.limit(make(), 20).source == "made here"


@pytest.mark.parametrize("rows", [0, -1, 21, True])
def test_limit_out_of_range(rows):
    with pytest.raises(DataError, match="from 1 to 20"):
        tabular.limit(make(), rows)


def test_split_tail_takes_test_from_the_end_then_val():
    train, val, test = tabular.split_tail(np.arange(109))
    assert (len(train), len(val), len(test)) == (90, 9, 10)
    np.testing.assert_array_equal(np.concatenate([train, val, test]), np.arange(109))


def test_split_tail_of_too_few_rows():
    with pytest.raises(DataError, match="too few"):
        tabular.split_tail(np.arange(9))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (EOFError(), "EOFError"),
        (OSError("\n"), "OSError"),
        (KeyError("name"), "KeyError 'name'"),
        (ValueError("one\ntwo"), "one"),
    ],
)
def test_an_error_always_says_something(error, text):
    assert tabular.told(error) == text


class Names:
    """What stands for transforms of columns of these names."""

    def __init__(self, *names):
        self.names = names


def beside(width=2, **changes):
    """Conditions and weights of each split, changed in the last."""
    conditions = [np.ones((n, width), np.float32) for n in (20, 4, 5)]
    weights = [np.ones(n, np.float32) for n in (20, 4, 5)]
    conditions[-1] = changes.pop("conditions", conditions[-1])
    weights[-1] = changes.pop("weights", weights[-1])
    found = {"conditions": tuple(conditions), "weights": tuple(weights), **changes}
    return make()._replace(**found)


def test_conditions_weights_and_columns_pass():
    data = beside(columns=Names("a", "b", "c"), condition_columns=Names("p", "q"))
    assert tabular.validate(data) is data


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"conditions": np.ones((4, 2), np.float32)}, "4 rows, but the split has 5"),
        ({"conditions": np.ones((5, 3), np.float32)}, "has 3 columns, but 'train'"),
        ({"conditions": np.ones((5, 2))}, "conditions of split 'test': expected a flo"),
        (
            {"conditions": np.full((5, 2), np.nan, np.float32)},
            "conditions of split 'test': row 0, column 0 is nan",
        ),
        ({"weights": np.ones((5, 1), np.float32)}, r"expected shape \[rows\]"),
        ({"weights": -np.ones(5, np.float32)}, "row 0 is -1.0 .5 of 5 rows"),
        ({"weights": np.full(5, np.nan, np.float32)}, "row 0 is nan"),
        ({"weights": np.zeros(5, np.float32)}, "all are 0"),
        ({"columns": Names("a")}, "columns names 1 columns, but there are 3"),
        ({"condition_columns": Names("a")}, "names 1 columns, but there are 2"),
    ],
)
def test_faults_beside_the_rows_are_named(changes, text):
    with pytest.raises(DataError, match=text):
        tabular.validate(beside(**changes))


def test_weights_have_mean_one_over_the_training_rows():
    data = beside()
    doubled = (2 * data.weights[0], *data.weights[1:])
    with pytest.raises(DataError, match="mean 2; divide those of all splits by it"):
        tabular.validate(data._replace(weights=doubled))


def test_a_limit_cuts_what_stands_beside_and_weighs_the_rest_anew():
    weights = np.linspace(0.5, 1.5, 20, dtype=np.float32)
    data = beside()
    data = data._replace(weights=(weights, *data.weights[1:]))
    limited = tabular.limit(data, 5)
    assert len(limited.conditions[0]) == 5
    floats.assert_close(limited.weights[0], weights[:5] / weights[:5].mean())
    floats.assert_close(limited.weights[1], 1 / weights[:5].mean())
    assert tabular.validate(limited) is limited
    none = (np.append(np.zeros(5), np.ones(15)).astype(np.float32), *data.weights[1:])
    with pytest.raises(DataError, match="weights are all 0"):
        tabular.limit(data._replace(weights=none), 5)
