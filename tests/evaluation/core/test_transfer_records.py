"""Records survive JSON; estimates are of the rows that count."""

import dataclasses
import json
import math

import numpy as np
import pytest

from fdnf.evaluation.core import transfer_records
from fdnf.evaluation.core.transfer_records import Estimate, Record, Speed
from fdnf.metrics.two_sample import KolmogorovSmirnov
from tests.evaluation.transfer_pair import record


def test_json_and_back():
    plain = record()
    timed = dataclasses.replace(
        plain, speed=Speed(8, (1.0, 0.5, 2.0), None, (9.0, 8.0, 10.0), 4)
    )
    for made in (plain, timed):
        text = made.to_json()
        back = Record.from_json(text)
        assert repr(back) == repr(made)
        assert back.to_json() == text
        assert type(back.scores.ks) is KolmogorovSmirnov
    found = json.loads(plain.to_json())
    assert found["scores"]["forward_kl"]["median"] == "inf"
    assert found["scores"]["forward_kl"]["standard_error"] == "nan"
    assert found["speed"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("seed"), "record is .*expected the fields"),
        (lambda f: f.update(seed="0"), "record.seed is '0': expected int"),
        (lambda f: f.update(speed={"batch": 1}), "record.speed is"),
        (lambda f: f["scores"].update(mmd=True), "record.scores.mmd is True"),
        (lambda f: f["scores"].update(ks=[1.0]), "record.scores.ks is"),
    ],
)
def test_what_is_no_record_says_where(change, message):
    fields = json.loads(record().to_json())
    change(fields)
    with pytest.raises(ValueError, match=message):
        Record.from_json(json.dumps(fields))
    with pytest.raises(ValueError, match="not JSON"):
        Record.from_json("{")


def test_estimates_by_hand():
    values = np.array([1.0, 2.0, 6.0, np.nan, np.inf, 100.0])
    counted = np.array([True] * 5 + [False])
    found = transfer_records.estimate(values, math.inf, counted)
    error = np.std([1, 2, 6], ddof=1) / math.sqrt(3)
    assert found == Estimate(3.0, error, math.inf, 3, 3)
    low = transfer_records.estimate(-values, -math.inf, counted)
    # Sorted: three times -inf, then -6, -2, -1.
    assert (low.mean, low.median) == (-3.0, -6.0)
    one = transfer_records.estimate(np.array([2.0]), math.inf, np.array([True]))
    assert one.median == 2.0
    assert math.isnan(one.standard_error)
    none = transfer_records.estimate(np.array([np.nan]), math.inf, np.array([True]))
    assert math.isnan(none.mean)
    assert (none.rows, none.left_out) == (0, 1)
