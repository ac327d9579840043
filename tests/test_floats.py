"""Comparisons of floats hold on another machine, whose sums are rounded otherwise."""

import ast
import pathlib

import numpy as np
import pytest

from tests import floats

TESTS = pathlib.Path(__file__).parent
# Programs that made the expected values, run by hand.
FILES = [p for p in sorted(TESTS.rglob("*.py")) if "golden" not in p.parts]


def test_an_entry_that_cancels_has_the_precision_of_its_neighbours():
    floats.assert_close([1000.0, 1e-9], [1000.0, 0.0], rtol=1e-6)
    floats.assert_close([np.inf, 1.0], [np.inf, 1.0])
    with pytest.raises(AssertionError, match="of the row"):
        floats.assert_close([1000.01, 1.0], [1000.0, 1.0], 1e-6, "of the row")
    # The largest value is that of the expectation, not of what was found.
    with pytest.raises(AssertionError):
        floats.assert_close([1e-9], [0.0])
    with pytest.raises(AssertionError):
        floats.assert_close([1.0], [np.inf])


def relative_alone(text):
    """Lines that call `assert_allclose` without an absolute tolerance."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", None) == "assert_allclose"
        and not {"atol", None} & {word.arg for word in node.keywords}
    ]


def test_every_comparison_has_an_absolute_tolerance():
    assert relative_alone("np.testing.assert_allclose(a, b, rtol=1e-5)") == [1]
    found = [
        f"{path.relative_to(TESTS)}:{line}"
        for path in FILES
        for line in relative_alone(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"use tests.floats.assert_close, or give atol: {found}"
