import numpy as np
import pytest

from fdnf.data import tabular
from fdnf.data.tabular import DataError, Tabular


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
