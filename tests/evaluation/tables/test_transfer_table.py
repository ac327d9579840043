"""The words and numbers of the tables."""

import dataclasses
import math

import pytest

from fdnf.evaluation.core.transfer_records import DATA, TEACHER, Estimate, Speed
from fdnf.evaluation.tables import transfer_cells, transfer_table
from tests.evaluation.transfer_pair import record

STUDENT = Speed(100, (1.0, 0.9, 1.1), (5.0, 4.0, 6.0))


def several():
    teacher = record(TEACHER, reverse_kl=None, forward_kl=None)
    speed = Speed(100, (10.0, 9.0, 11.0), (2.0, 1.0, 3.0), (400.0, 300.0, 500.0), 50)
    found = [dataclasses.replace(teacher, speed=speed), record(DATA, reverse_kl=None)]
    for method in ("x", "kl", "other"):
        for seed, difference in ((0, 0.25), (1, 0.75)):
            made = record(method, seed, reverse_kl=Estimate(difference, 0.1, 0.0, 9, 0))
            found.append(dataclasses.replace(made, speed=None if seed else STUDENT))
    return found


def cells_of(table):
    """Row name to header to cell."""
    return {
        row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows
    }


def test_floors_come_first_then_methods_in_order():
    rows = [row[0] for row in transfer_table.samples(several()).rows]
    assert rows == [
        *("Teacher (floor)", "Training data", "KL student", "x-reconstruction"),
        "other",
    ]


def test_samples():
    found = cells_of(transfer_table.samples(several()))
    assert found["KL student"]["log p_T, median"] == "-0.90 ± 0.00"
    assert found["KL student"]["C2ST, teacher ↓"] == "0.750 ± 0.000"
    assert found["KL student"]["1000 MMD² ↓"] == "-"
    # One seed shows Welch's interval, several theirs.
    assert found["Training data"]["mean minus teacher's"] == "-1.50 [-2.00, -1.00]"
    assert found["KL student"]["mean minus teacher's"] == "-1.50 ± 0.00"


def test_divergences():
    table = transfer_table.divergences(several())
    found = cells_of(table)
    # Half-width of two seeds: 12.71 times 0.25.
    assert found["KL student"]["Reverse KL, mean ↓"] == "0.50 ± 3.18 (se 0.10)"
    assert found["Teacher (floor)"]["Reverse KL, mean ↓"] == "-"
    assert "Training data" not in found
    assert table.rows[2][4] == "inf"
    (note,) = [note for note in table.notes if "left out" in note]
    assert "Forward KL of KL student, x-reconstruction, other: 99 of 100" in note
    without = [record("resnet_l1", reverse_kl=None)]
    assert transfer_table.divergences(without) is None


def test_large_numbers_and_lost_seeds():
    group = [
        record(seed=seed, reverse_kl=Estimate(mean, 1e9, mean, 9, 0))
        for seed, mean in enumerate((1e10, math.inf, 3e10))
    ]
    found = transfer_cells.mean(group, lambda s: s.reverse_kl)
    assert found == "2.00e+10 ± 1.3e+11 (2 of 3 seeds, se 1.0e+09)"
    lost = group[1:2]
    assert transfer_cells.median(lost, lambda s: s.reverse_kl) == "inf"
    assert transfer_cells.over_seeds(lost, lambda s: s.mmd, 2) == "-"


def test_p_values_that_are_not_small_are_named():
    text = transfer_cells.p_values(several())
    assert text.endswith("below 0.0001 all.")
    close = record("z", ks=record().scores.ks._replace(p_value=0.25))
    text = transfer_cells.p_values([*several(), close])
    assert text.endswith("below 0.0001 but for z-reconstruction (KS 0.25).")


def test_speeds():
    table = transfer_table.speeds(several())
    found = cells_of(table)
    students = "KL student; x-reconstruction; other"
    names = ["Teacher, one pass a dimension", "Teacher, as it samples here", students]
    assert list(found) == names
    rates = [found[name]["Samples per second ↑"] for name in names]
    assert rates == ["125", "10,000", "100,000"]
    assert found[students]["× one pass a dimension"] == "800"
    assert found[students]["× as it samples here"] == "10.0"
    assert found[students]["Densities per second ↑"] == "20,000"
    assert found[names[0]]["Batch"] == "50"
    assert transfer_table.speeds([record()]) is None


def test_page_has_directions_and_legends():
    text = transfer_table.page(several())
    for phrase in (
        "### gaussian: samples against the teacher's",
        "### gaussian: divergence",
        "### gaussian: speed",
        "Kolmogorov-Smirnov",
        "↓ lower is better",
        "over seeds (0, 1)",
        "Data: rows of a normal.",
    ):
        assert phrase in text
    other = dataclasses.replace(record(), data="else")
    with pytest.raises(ValueError, match="those of one data set"):
        transfer_table.page([record(), other])
    with pytest.raises(ValueError, match="those of one data set"):
        transfer_table.page([])
