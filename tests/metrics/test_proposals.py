"""What becomes of weighed proposals, against chains and draws written out."""

import numpy as np
import pytest

from fdnf.metrics import proposals

RNG = np.random.default_rng(0)
LOG_W = 1.5 * RNG.normal(size=30)
# Some without a weight, some alike.
LOG_W[:4], LOG_W[4:7] = -np.inf, LOG_W[4]


def chain(log_w):
    """Transition matrix of the chain that proposes each of these alike."""
    w, count = np.exp(log_w), len(log_w)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(w > 0, w / w[:, None], 0.0)
    accepted = np.where(w[:, None] > 0, np.minimum(1.0, ratio), w > 0) / count
    return accepted + np.diag(1.0 - accepted.sum(axis=1))


def test_distances_are_those_of_the_chain_written_out():
    matrix, target = chain(LOG_W), np.exp(LOG_W) / np.exp(LOG_W).sum()
    np.testing.assert_allclose(target @ matrix, target, atol=1e-14)
    law, expected = np.full(30, 1 / 30), []
    for _ in range(20):
        expected.append(0.5 * np.abs(law - target).sum())
        law = law @ matrix
    found = proposals.distances(RNG.permutation(LOG_W + 700.0), 20)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert proposals.distance(LOG_W, 20) == pytest.approx(expected[-1], abs=1e-12)
    # Never further than by the heaviest weight (Liu 1996).
    heaviest = np.exp(LOG_W).max() / np.exp(LOG_W).mean()
    bound = (1 - 1 / heaviest) ** np.arange(20)
    assert (np.array(found) <= bound).all()


def test_each_condition_has_chains_of_its_own():
    other = np.random.default_rng(3).normal(size=30)
    both = np.stack([LOG_W, other + 40.0])
    expected = [proposals.distances(each, 9) for each in both]
    np.testing.assert_allclose(
        proposals.distances(both, 9), np.mean(expected, 0), atol=1e-12
    )
    shares = [proposals.excess(each, 2) for each in both]
    assert proposals.excess(both, 2) == pytest.approx(np.mean(shares))
    none = np.stack([np.full(30, -np.inf), np.zeros(30)])
    assert proposals.distance(none, 3) == 0.25


def test_as_few_steps_as_are_tolerated():
    found = proposals.distances(LOG_W, 100)
    steps = proposals.enough(LOG_W, "metropolis", 0.05, 100)
    assert found[steps - 1] <= 0.05 < found[steps - 2]
    assert proposals.enough(LOG_W, "metropolis", 0.05, 3) == 3
    assert proposals.enough(np.zeros(50), "metropolis", 0.01, 100) == 1
    steps = proposals.enough(LOG_W, "resampling", 0.05, 100)
    w = np.exp(LOG_W) / np.exp(LOG_W).mean()
    shares = [np.maximum(w - m, 0).mean() for m in (steps, steps - 1)]
    assert shares[0] <= 0.05 < shares[1]
    assert proposals.excess(LOG_W, steps) == pytest.approx(shares[0])
    assert proposals.enough(np.zeros(50), "resampling", 0.01, 100, least=4) == 4


def test_each_is_taken_as_often_as_it_weighs():
    log_w, rng = np.log([1.0, 4.0, 0.5, 2.5, 2.0]), np.random.default_rng(1)
    log_w = np.concatenate([log_w, [-np.inf]])
    counts = np.array(
        [
            np.bincount(proposals.systematic(log_w, 5, rng), minlength=6)
            for _ in range(4000)
        ]
    )
    expected = 5 * np.exp(log_w) / np.exp(log_w).sum()
    assert (counts.sum(axis=1) == 5).all()
    assert ((counts >= np.floor(expected)) & (counts <= np.ceil(expected))).all()
    np.testing.assert_allclose(counts.mean(axis=0), expected, atol=0.04)
    first = [proposals.systematic(log_w, 5, rng)[0] for _ in range(2000)]
    shares = np.bincount(first, minlength=6) / 2000
    np.testing.assert_allclose(shares, expected / 5, atol=0.05)


def test_no_weight_at_all():
    with pytest.raises(ValueError, match="none of 3 proposals has a weight"):
        proposals.systematic(np.full(3, -np.inf), 2, np.random.default_rng(0))
