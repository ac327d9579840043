"""Simulators against their likelihoods, closed forms and the published posteriors."""

import bz2
import zipfile

import numpy as np
import pytest
from scipy import stats

from fdnf.data import build, npz, sbi, sbibm
from fdnf.data.tabular import DataError

TASKS = tuple(sbi.TASKS)
# Their likelihood has bounds, beyond which ratios are 0.
SMOOTH = tuple(name for name in TASKS if name != "two_moons")


def drawn(name, n, seed=0):
    return sbi.get(name).draw(np.random.default_rng(seed), n)


@pytest.mark.parametrize("name", TASKS)
def test_prior(name):
    task = sbi.get(name)
    theta, x = drawn(name, 20_000)
    assert theta.shape == (20_000, task.dim)
    assert x.shape == (20_000, task.width)
    if task.half is not None:
        assert np.abs(theta).max() < task.half
        np.testing.assert_allclose(
            theta.std(0), task.half / 3**0.5, rtol=0, atol=0.02 * task.half
        )
        outside = np.full((1, task.dim), 1.01 * task.half)
        assert task.log_prior(outside) == -np.inf
        expected = -task.dim * np.log(2 * task.half)
        np.testing.assert_allclose(
            task.log_prior(theta[:3]), expected, rtol=0, atol=1e-12
        )
        return
    precision = task.precision()
    np.testing.assert_allclose(
        np.cov(theta.T) @ precision, np.eye(task.dim), rtol=0, atol=0.15
    )
    normal = stats.multivariate_normal(cov=np.linalg.inv(precision))
    np.testing.assert_allclose(
        task.log_prior(theta[:9]), normal.logpdf(theta[:9]), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("name", SMOOTH)
def test_simulations_follow_the_likelihood(name):
    # E[p(x | theta') / p(x | theta)] = 1 over x of the simulator at theta.
    task = sbi.get(name)
    rng = np.random.default_rng(1)
    theta = np.broadcast_to(task.prior(rng, 1), (20_000, task.dim))
    x = task.simulate(rng, theta)
    base = task.log_likelihood(theta, x, np)
    step = 0.02 if name == "slcp" else 0.1
    for moved in theta[0] + step * np.eye(task.dim):
        other = task.log_likelihood(moved[None], x, np)
        ratio = np.exp(other - base)
        if name == "bernoulli_glm":
            # Known up to a constant of x alone, which cancels.
            assert ratio.std() > 0.01
        error = ratio.std() / len(ratio) ** 0.5
        assert abs(ratio.mean() - 1) < 5 * error + 1e-6


def test_two_moons_are_crescents():
    theta, x = drawn("two_moons", 20_000)
    a, b = theta.T
    u = x[:, 0] - 0.25 + np.abs(a + b) / 2**0.5
    v = x[:, 1] - (b - a) / 2**0.5
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    assert stats.kstest((radius - 0.1) / 0.01, "norm").pvalue > 1e-3
    assert stats.kstest(angle / np.pi + 0.5, "uniform").pvalue > 1e-3
    # p(x | theta) is a density: its integral over a grid of the crescent's box.
    u, v = np.meshgrid(np.linspace(0, 0.2, 401)[1:], np.linspace(-0.2, 0.2, 801))
    grid = np.stack([u.ravel() + 0.25, v.ravel()], axis=1)
    log = sbi.get("two_moons").log_likelihood(np.zeros((1, 2)), grid, np)
    np.testing.assert_allclose(np.exp(log).sum() * 0.0005**2, 1.0, rtol=0, atol=0.01)


def test_a_data_set_in_both_directions():
    of_theta = build.DATASETS["sbi"](task="slcp", rows=200)
    of_x = build.DATASETS["sbi"](task="slcp", rows=200, of="x")
    assert [len(p) for p in (of_theta.train, of_theta.val, of_theta.test)] == [
        *(180, 20, 2500)
    ]
    assert (of_theta.dim, of_x.dim) == (5, 8)
    assert np.array_equal(of_theta.train, of_x.conditions[0])
    theta, x = sbi.get("slcp").draw(np.random.Generator(np.random.PCG64([0, 0])), 200)
    back = of_theta.columns.decode(of_theta.train)
    np.testing.assert_allclose(back, theta[:180], rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        of_x.columns.decode(of_x.val), x[180:], rtol=0, atol=1e-3
    )
    far = of_theta.columns.decode(np.full((1, 5), 30.0))
    assert np.abs(far).max() <= 3
    np.testing.assert_allclose(of_theta.conditions[0].mean(0), 0.0, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"task": "sir"}, "Unknown task 'sir'; known: two_moons, gaussian_mixture"),
        ({"of": "y"}, "of='y'; expected one of theta, x"),
        ({"rows": 5}, "rows=5; expected a whole number from 20 on"),
    ],
)
def test_wrong_arguments(wrong, text):
    with pytest.raises(DataError, match=text):
        sbi.sbi(**wrong)


@pytest.mark.parametrize("name", TASKS)
def test_published_posteriors(name, real):
    """Samples of the posterior obey the law of the likelihood and prior here."""
    task, found = sbi.get(name), sbibm.reference(name, real(sbibm.FILE))
    for index in (0, 5):
        posterior, x = (
            found.posterior[index, ::4],
            found.observations[index : index + 1],
        )

        def joint(theta, x=x):
            return task.log_prior(theta) + task.log_likelihood(theta, x, np)

        base = joint(posterior)
        assert np.isfinite(base).mean() > 0.999
        # E[p(theta + step) / p(theta)] = 1, but for what leaves the bounds.
        size = 0.01 if name in ("two_moons", "slcp") else 0.05
        steps = size * posterior.std(0) * np.eye(task.dim)
        ratios = [np.exp(joint(posterior + s) - base) for s in (*steps, *-steps)]
        assert abs(np.mean(ratios) - 1) < 0.02


def test_linear_posterior_in_closed_form(real):
    found = sbibm.reference("gaussian_linear", real(sbibm.FILE))
    # Equal variances of prior and noise: N(x / 2, 0.05).
    gap = found.posterior.mean(1) - found.observations / 2
    assert np.abs(gap).max() < 5 * (0.05 / 10_000) ** 0.5
    np.testing.assert_allclose(found.posterior.var(1), 0.05, rtol=0, atol=0.005)


def test_summaries_of_spikes_have_the_published_design(real):
    design, stimulus = npz.read_arrays(
        real(sbibm.FILE), "bernoulli_glm/design_matrix", "bernoulli_glm/stimulus"
    )
    assert np.array_equal(sbi._design().astype(np.float32), design)
    y = np.random.default_rng(0).integers(0, 2, 100).astype(float)
    padded = np.pad(y, 8)
    crossed = [padded[k : k + 100] @ stimulus for k in range(17)]
    np.testing.assert_allclose(
        y @ sbi._design(), [y.sum(), *crossed[-9:]], rtol=0, atol=1e-4
    )


def wheel(path, samples=None, name="reference_posterior_samples.csv.bz2"):
    """A file like the published one, of small numbers."""
    rows = np.zeros((sbibm.SAMPLES, 2)) if samples is None else samples
    text = "a,b\n" + "\n".join(",".join(map(str, row)) for row in rows)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(1, 11):
            folder = f"sbibm/tasks/two_moons/files/num_observation_{i}/"
            archive.writestr(folder + "observation.csv", f"a,b\n{i},2\n")
            archive.writestr(folder + "true_parameters.csv", "a,b\n0.5,0.25\n")
            archive.writestr(folder + name, bz2.compress(text.encode()))


def test_wheel_is_read_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / sbibm.WHEEL
    wheel(path)
    with pytest.raises(DataError, match="is not sbibm 1.1.0: its SHA-256"):
        sbibm.reference("two_moons", path)
    monkeypatch.setattr(sbibm, "SHA256", sbibm.cache.sha256(path))
    found = sbibm.reference("two_moons", path)
    assert found.posterior.shape == (10, 10_000, 2)
    assert found.observations[:, 0].tolist() == [*range(1, 11)]
    assert found.theta.tolist() == [[0.5, 0.25]] * 10
    # Far larger than it may be: read no further than that.
    wheel(path, np.full((sbibm.SAMPLES, 2), "1" * 100))
    monkeypatch.setattr(sbibm, "SHA256", sbibm.cache.sha256(path))
    with pytest.raises(DataError, match=r"posterior_samples.csv.bz2 (has|is damaged)"):
        sbibm.reference("two_moons", path)
    wheel(path, name="other.csv")
    monkeypatch.setattr(sbibm, "SHA256", sbibm.cache.sha256(path))
    with pytest.raises(DataError, match="has no member"):
        sbibm.reference("two_moons", path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="No such file.*pip download --no-deps sbibm"):
        sbibm.reference("slcp", tmp_path / "sbibm.npz")
    assert not sbibm.available(tmp_path)
