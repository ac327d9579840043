"""Numbers as text."""

import math

import pytest

from fdnf.evaluation.tables import cell
from fdnf.evaluation.tables.cell import Number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(1.23456, 0.05678, 3, 3), "1.235 ± 0.057"),
        (Number(1.23456, 0.05678, 3, 3, se=0.01), "1.235 ± 0.057 (se 0.010)"),
        (Number(1.5, None, 1, 1), "1.500 (n=1)"),
        (Number(1.5, None, 1, 1, se=0.2), "1.500 (n=1, se 0.200)"),
        (Number(1.5), "1.500"),
        (Number(None), "-"),
        (Number(0.5, 0.25, 3, digits=1, signed=True), "+0.5 ± 0.2"),
        (Number(0.5, 0.25, 3, signed=True, star=True), "+0.500 ± 0.250 *"),
        # What the digits do not tell from zero has no sign.
        (Number(-1e-5, 0.1, 3, signed=True), "0.000 ± 0.100"),
        (Number(2.0, 12.7062, 2, 3), "2.000 ± 12.706 (2 of 3)"),
        (Number(math.nan, None, 0, 2), "nan (0 of 2)"),
        (Number(math.inf), "inf"),
        (Number(123456.0, 7000.0, 3), "1.23e+05 ± 7.0e+03"),
        (Number(-123456.0, signed=True), "-1.23e+05"),
        (Number(44152176, form="count"), "44,152,176"),
        (Number(21786, form="thousands"), "21.8"),
        (Number(7_946_544, form="millions"), "7.95"),
        (Number(77_000, form="millions"), "0.0770"),
        (Number(2.5, form="times"), "2.50x"),
        (Number(2543.2, form="times"), "2,543x"),
        (Number(1.0, low=0.9, high=1.25, form="spread"), "1.00 (0.90-1.25)"),
        (Number(20.0, low=19.0, high=22.0, form="spread"), "20.0 (19.0-22.0)"),
        (Number(0.02, form="spread"), "0.0200"),
        (Number(2.0, low=0.0, high=300.0, form="range"), "2 (0 to 300)"),
        (Number(0.5, low=0.1, high=0.9, form="interval"), "0.500 [0.100, 0.900]"),
        ("as it is", "as it is"),
    ],
)
def test_text(number, text):
    assert cell.text(number) == text


def test_decimals_give_the_typical_value_three_digits():
    assert cell.decimals([]) == cell.decimals([0.0, math.nan, 12.0]) == 3
    assert cell.decimals([1.234e-4, 1.1e-4]) == 6
    assert cell.decimals([1e-20]) == 8
    # The middle of an even number is the mean of two.
    assert cell.decimals([0.09, 0.03]) == 4


def test_ratios():
    assert cell.text(cell.ratio(5.0, 2.0)) == "2.50x"
    assert [cell.text(cell.ratio(*pair)) for pair in ((None, 1.0), (1.0, 0.0))] == [
        "-",
        "-",
    ]
