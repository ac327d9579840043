"""Kernel distances against a published implementation and by hand."""

import pathlib

import numpy as np
import pytest

from fdnf.metrics import kid

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "sample_scores.npz")


def test_equals_torchmetrics_on_each_subset():
    real, fake = (GOLDEN[name].astype(np.float64) for name in ("real", "fake"))
    for (i, j), expected in zip(GOLDEN["kid_subsets"], GOLDEN["kid"], strict=True):
        found = kid.polynomial_mmd(real[i], fake[j])
        assert found == pytest.approx(float(expected), rel=1e-12)


def test_by_hand():
    # One feature: k(a, b) = (ab + 1)^3; pairs (0, 1) and (1, 2) within, four across.
    x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    across = (1 + 1 + 8 + 27) / 4
    assert kid.polynomial_mmd(x, y) == pytest.approx(1 + 27 - 2 * across)


def test_unbiased_for_one_distribution():
    rng = np.random.default_rng(0)
    values = [
        kid.polynomial_mmd(rng.normal(size=(20, 4)), rng.normal(size=(25, 4)))
        for _ in range(400)
    ]
    # A biased estimate would be off by about k(x, x) / 20 = 0.4.
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error < 0.1


def test_subsets():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.normal(1.0, size=(50, 3))
    found = kid.kid(x, y, subsets=200, size=30, seed=2)
    assert found == kid.kid(x, y, subsets=200, size=30, seed=2)
    assert found != kid.kid(x, y, subsets=200, size=30, seed=3)
    whole = kid.polynomial_mmd(x, y)
    assert found.mean == pytest.approx(whole, abs=4 * found.std / np.sqrt(200))
    assert found.std > 0
    assert found[2:] == (200, 30)


def test_subsets_of_all_rows():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 3)), rng.normal(1.0, size=(40, 3))
    found = kid.kid(x, y)
    assert found.mean == pytest.approx(kid.polynomial_mmd(x, y), rel=1e-12)
    # 100 times the same, up to the order of the rows.
    assert found.std == pytest.approx(0, abs=1e-12)
    assert found[2:] == (100, 40)
    # All of the smaller set, a draw of the larger.
    found = kid.kid(x, y[:30], subsets=5)
    assert found.size == 30
    assert found.std > 0


def test_refusals():
    rows = np.ones((5, 2))
    with pytest.raises(ValueError, match="fake has 1 rows: expected at least 2"):
        kid.kid(rows, rows[:1])
    with pytest.raises(ValueError, match="size=1"):
        kid.kid(rows, rows, size=1)
    with pytest.raises(ValueError, match="not finite"):
        kid.polynomial_mmd(rows, rows * np.inf)
