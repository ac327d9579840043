"""Precision, recall, density and coverage against prdc 0.2 and by hand."""

import pathlib

import numpy as np
import pytest

from fdnf.metrics import prdc
from tests import floats

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "sample_scores.npz")


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("case", ["", "few_"])
@pytest.mark.parametrize("block", [7, 256])
def test_equals_prdc(k, case, block, monkeypatch):
    monkeypatch.setattr(prdc, "BLOCK", block)
    found = prdc.prdc(GOLDEN[f"{case}real"], GOLDEN[f"{case}fake"], k)
    # Ratios of counts: equal but for the rounding of a division.
    floats.assert_close(found, GOLDEN[f"{case}prdc_{k}"], rtol=1e-12)


def test_by_hand():
    # Radii with k=1: data 1, 1, 8; samples 0.25, 0.25, 9.25.
    real = np.array([[0.0], [1.0], [9.0]])
    fake = np.array([[0.5], [0.75], [10.0]])
    # Samples 0.5 and 0.75 lie in the balls of 0 and 1; 10 in that of 9 alone, which
    # holds neither of the others (8.25 and 8.5 away). Data 1 and 9 lie in the ball of
    # 10, and 0 in none: 1 is on the edge of that of 0.75, strictly not inside.
    scores = prdc.prdc(real, fake, k=1)
    assert scores.precision == 1
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.density == pytest.approx((2 + 2 + 1) / 3)
    assert scores.coverage == 1


def test_a_point_on_the_sphere_is_outside():
    real = np.array([[0.0], [2.0]])
    scores = prdc.prdc(real, np.array([[-2.0], [4.0]]), k=1)
    assert scores == (0, 1, 0, 0)


def test_collapse_and_noise():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 4))
    collapsed = 0.01 * rng.normal(size=(300, 4))
    scores = prdc.prdc(real, collapsed)
    assert scores.precision == 1
    assert scores.recall < 0.05
    assert scores.coverage < 0.3
    noise = prdc.prdc(real, 50 + rng.normal(size=(300, 4)))
    assert noise == (0, 0, 0, 0)


def test_copies_of_one_point_do_not_count_themselves_away():
    # More copies than k: radius 0, and nothing is strictly inside.
    same = np.full((20, 3), 0.1)
    assert prdc.prdc(same, same) == (0, 0, 0, 0)


def by_definition(real, fake, k, weights=1):
    """In whole numbers, pair by pair; columns may have weights."""

    def distances(a, b):
        return (weights * np.square(a[:, None] - b[None])).sum(axis=-1)

    def radii(a):
        squared = distances(a, a)
        np.fill_diagonal(squared, np.iinfo(np.int64).max)
        return np.sort(squared, axis=1)[:, k - 1]

    across = distances(real, fake)
    in_real = across < radii(real)[:, None]
    in_fake = across < radii(fake)
    return (
        in_real.any(axis=0).mean(),
        in_fake.any(axis=1).mean(),
        in_real.sum(axis=0).mean() / k,
        in_real.any(axis=1).mean(),
    )


@pytest.mark.parametrize("scale", [1.0, 1 / 255, 0.1, 1e4 / 3])
@pytest.mark.parametrize(
    ("high", "features"), [(2, 12), (2, 40), (4, 3), (10, 2)], ids=str
)
def test_ties_of_whole_numbers_are_ties(high, features, scale, monkeypatch):
    monkeypatch.setattr(prdc, "BLOCK", 64)
    rng = np.random.default_rng(high * features)
    real = rng.integers(0, high, size=(150, features))
    # Half of them samples of other odds.
    fake = np.minimum(rng.integers(0, high + 1, size=(120, features)), high - 1)
    found = prdc.prdc(real * scale + 3 * scale, fake * scale + 3 * scale, 3)
    floats.assert_close(found, by_definition(real, fake, 3), rtol=1e-12)


def test_ties_of_standardised_columns_are_ties():
    rng = np.random.default_rng(1)
    real, fake = (rng.integers(0, 2, size=(n, 8)) for n in (90, 80))
    shift, weights = real.mean(axis=0), rng.integers(4, 9, size=8)
    found = prdc.prdc(*((each - shift) * weights**0.5 for each in (real, fake)), 3)
    expected = by_definition(real, fake, 3, weights)
    floats.assert_close(found, expected, rtol=1e-12)


def test_refusals():
    rows = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match="real has 5 rows: expected at least 6"):
        prdc.prdc(rows[:5], rows)
    with pytest.raises(ValueError, match="k=0"):
        prdc.prdc(rows, rows, k=0)
