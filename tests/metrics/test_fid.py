"""Frechet distances against published implementations, closed forms and invariants."""

import pathlib
import warnings

import numpy as np
import pytest

from fdnf.metrics import fid
from tests import floats

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "sample_scores.npz")
PUBLISHED = ("pytorch_fid", "torch_fidelity", "torchmetrics")


def golden(case=""):
    return (GOLDEN[f"{case}{name}"].astype(np.float64) for name in ("real", "fake"))


def distance(x, y):
    return fid.frechet_distance(fid.Statistics(x), fid.Statistics(y))


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6))
    return rng.normal(size=(90, 6)) @ mixing + 50, rng.normal(size=(70, 6)) + 51


@pytest.mark.parametrize("published", PUBLISHED)
def test_equals_published_implementations(published):
    expected = float(GOLDEN[f"fd_{published}"])
    real, fake = golden()
    assert distance(real, fake) == pytest.approx(expected, rel=1e-9)
    found = fid.frechet_distance_of_samples(real, fake)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("published", PUBLISHED)
@pytest.mark.filterwarnings("ignore::fdnf.metrics.fid.FewSamplesWarning")
def test_fewer_rows_than_features(published):
    # The published implementations differ from each other in the seventh digit here.
    expected = float(GOLDEN[f"few_fd_{published}"])
    real, fake = golden("few_")
    assert real.shape[0] < real.shape[1]
    by_samples = fid.frechet_distance_of_samples(real, fake)
    assert by_samples == pytest.approx(expected, rel=1e-5)
    # Eigenvalues near 0 lose half their digits in the root.
    assert distance(real, fake) == pytest.approx(by_samples, rel=1e-6)


@pytest.mark.parametrize("rows", [30, 64, 65, 200])
@pytest.mark.filterwarnings("ignore::fdnf.metrics.fid.FewSamplesWarning")
def test_distance_to_itself(rows):
    x = np.random.default_rng(1).gamma(1.0, size=(rows, 64))
    trace = float(np.trace(np.cov(x, rowvar=False)))
    assert abs(distance(x, x)) < 1e-9 * trace
    assert abs(fid.frechet_distance_of_samples(x, x)) < 1e-9 * trace


def test_symmetric_and_blind_to_rotation(samples):
    x, y = samples
    expected = distance(x, y)
    assert distance(y, x) == pytest.approx(expected, rel=1e-10)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))
    found = distance(x @ rotation, y @ rotation)
    assert found == pytest.approx(expected, rel=1e-10)


def test_commuting_gaussians_by_hand():
    # |m1 - m2|^2 + sum (sqrt a - sqrt b)^2 in any common basis.
    rng = np.random.default_rng(3)
    basis, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    a, b = rng.uniform(0.1, 4, 8), rng.uniform(0.1, 4, 8)
    means = rng.normal(size=(2, 8))
    found = fid.gaussian_distance(
        means[0], (basis * a) @ basis.T, means[1], (basis * b) @ basis.T
    )
    expected = np.square(means[0] - means[1]).sum()
    expected += np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert found == pytest.approx(expected, rel=1e-12)


def test_scale_and_shift_by_hand(samples):
    x, _ = samples
    trace = np.trace(np.cov(x, rowvar=False))
    shift = np.arange(6.0)
    expected = np.square(2 * x.mean(axis=0) + shift).sum() + 4 * trace
    assert distance(x, 3 * x + shift) == pytest.approx(expected, rel=1e-9)


def test_statistics_of_batches_are_those_of_all(samples):
    x, _ = samples
    whole = fid.Statistics(x)
    floats.assert_close(whole.mean, x.mean(axis=0), rtol=1e-12)
    floats.assert_close(whole.covariance, np.cov(x, rowvar=False), rtol=1e-12)
    batched = fid.Statistics()
    for batch in (x[:1], x[1:1], x[1:40].astype(np.float64), x[40:]):
        batched.update(batch)
    assert batched.n == whole.n
    floats.assert_close(batched.mean, whole.mean, rtol=1e-12)
    floats.assert_close(batched.covariance, whole.covariance, rtol=1e-11)


def test_large_mean_costs_no_digits():
    x = np.random.default_rng(4).normal(size=(500, 3))
    far = fid.Statistics()
    for start in range(0, 500, 50):
        far.update(x[start : start + 50] + 2.0**30)
    floats.assert_close(far.covariance, np.cov(x, rowvar=False), rtol=1e-6)


def test_few_samples_warn():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(15, 8)), rng.normal(size=(40, 8))
    for function in (distance, fid.frechet_distance_of_samples):
        with pytest.warns(fid.FewSamplesWarning, match="15 samples with 8 features"):
            function(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distance(rng.normal(size=(16, 8)), y)


def test_refusals():
    rows = np.ones((3, 2))
    with pytest.raises(ValueError, match="1 of 3 rows of features are not finite"):
        fid.Statistics(np.array([[0.0, 1], [np.nan, 0], [1, 1]]))
    with pytest.raises(ValueError, match="width 3: expected 2"):
        fid.Statistics(rows).update(np.ones((2, 3)))
    with pytest.raises(ValueError, match="no rows"):
        _ = fid.Statistics().mean
    with pytest.raises(ValueError, match="at least 2"):
        _ = fid.Statistics(rows[:1]).covariance
    with pytest.raises(ValueError, match="at least 2"):
        fid.frechet_distance_of_samples(rows[:1], rows)
    with pytest.raises(ValueError, match="2 features against 3"):
        distance(rows, np.ones((3, 3)))
