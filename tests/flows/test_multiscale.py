"""Multi-scale flows: priors of the parts, shapes, temperatures, RealNVP, NICE."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from fdnf.flows.glow import Glow
from fdnf.flows.multiscale import SplitPrior, TopPrior
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import MultiScaleRealNVP
from tests import floats, laws


def draw(*shape, seed=0):
    sample = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(sample, jnp.float32)


def made(prior, *args):
    init = functools.partial(prior.init, method="standardize")
    variables = jax.jit(init)(jax.random.key(0), *args)
    return laws.perturb(variables, 0.3)


def test_split_prior_is_a_gaussian_given_what_is_passed_on():
    h1, h2 = draw(3, 4, 4, 2), draw(3, 4, 4, 3, seed=1)
    prior = SplitPrior()
    variables = made(prior, h1, h2)
    z, log_det = prior.apply(variables, h1, h2, method="standardize")
    # Where the latent is 0 there is the mean; where it is 1, one deviation more.
    at = functools.partial(prior.apply, variables, h1, method="restore")
    mean, _ = at(jnp.zeros_like(h2))
    std = at(jnp.ones_like(h2))[0] - mean
    assert np.max(np.abs(mean)) > 0.1
    assert np.ptp(std) > 0.1
    expected = scipy.stats.norm.logpdf(h2, mean, std).reshape(3, -1).sum(axis=1)
    standard = scipy.stats.norm.logpdf(z).reshape(3, -1).sum(axis=1)
    floats.assert_close(standard + log_det, expected, rtol=1e-4)
    back, other = at(z)
    np.testing.assert_allclose(back, h2, atol=1e-5)
    floats.assert_close(other, -log_det, rtol=1e-5)


def test_split_prior_starts_standard_normal_and_stays_bounded():
    h1, h2 = draw(2, 2, 2, 2), draw(2, 2, 2, 2, seed=1)
    prior = SplitPrior()
    start = prior.init(jax.random.key(0), h1, h2, method="standardize")
    z, log_det = prior.apply(start, h1, h2, method="standardize")
    np.testing.assert_array_equal(z, h2)
    np.testing.assert_array_equal(log_det, np.zeros(2))
    _, log_det = prior.apply(
        laws.perturb(start, 0.3), 1e6 * h1, h2, method="standardize"
    )
    assert np.all(np.abs(log_det) <= 5.0 * 8 * 1.001)


@pytest.mark.parametrize("width", [None, 3], ids=["plain", "class"])
def test_top_prior_has_one_gaussian_a_channel(width):
    h = draw(3, 4, 4, 2)
    cond = None if width is None else jnp.eye(3)
    prior = TopPrior()
    variables = made(prior, h, cond)
    z, log_det = prior.apply(variables, h, cond, method="standardize")
    mean, _ = prior.apply(variables, jnp.zeros_like(h), cond, method="restore")
    above, _ = prior.apply(variables, jnp.ones_like(h), cond, method="restore")
    std = above - mean
    np.testing.assert_allclose(np.ptp(mean, axis=(1, 2)), np.zeros((3, 2)), atol=1e-6)
    between = np.ptp(mean, axis=0).max()
    assert between == pytest.approx(0.0, abs=1e-6) if width is None else between > 0.1
    expected = scipy.stats.norm.logpdf(h, mean, std).reshape(3, -1).sum(axis=1)
    standard = scipy.stats.norm.logpdf(z).reshape(3, -1).sum(axis=1)
    floats.assert_close(standard + log_det, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("flow", "event", "shapes"),
    [
        (Glow(1), (4, 4, 1), [(2, 2, 4)]),
        (Glow(3), (8, 16, 3), [(4, 8, 6), (2, 4, 12), (1, 2, 48)]),
        (Glow(3), (64, 64, 3), [(32, 32, 6), (16, 16, 12), (8, 8, 48)]),
        # RealNVP's last level does not squeeze.
        (MultiScaleRealNVP(1), (5, 3, 2), [(5, 3, 2)]),
        (MultiScaleRealNVP(3), (8, 4, 1), [(4, 2, 2), (2, 1, 4), (2, 1, 4)]),
    ],
)
def test_shapes_of_the_latents(flow, event, shapes):
    assert flow.latent_shapes(event) == tuple(shapes)
    assert sum(np.prod(shape) for shape in shapes) == np.prod(event)


def tiny(flow):
    return flow.clone(steps=1, hidden=4)


FLOWS = [
    (tiny(Glow(2)), (4, 8, 1)),
    (tiny(MultiScaleRealNVP(2, blocks=1)), (4, 6, 1)),
    # The last level of checkerboards works on odd sides.
    (tiny(MultiScaleRealNVP(1, blocks=1)), (3, 5, 2)),
]
over_flows = pytest.mark.parametrize(("flow", "event"), FLOWS, ids=["glow", "nvp", "1"])


@over_flows
def test_latents_and_levels_have_the_shapes_that_are_told(flow, event):
    x = jnp.zeros((3, *event))
    encoding, variables = jax.eval_shape(flow.init_with_output, jax.random.key(0), x)
    shapes = flow.latent_shapes(event)
    assert tuple(z.shape for z in encoding.z) == tuple((3, *s) for s in shapes)
    decode = functools.partial(flow.apply, method="decode")
    decoding = jax.eval_shape(decode, variables, encoding.z)
    assert decoding.x.shape == x.shape
    assert len(encoding.levels) == flow.levels
    # A level is what there is before its split, of which half is passed on.
    for i, level in enumerate(encoding.levels):
        assert level.shape == decoding.levels[i].shape
        assert math.prod(level.shape[1:]) == x[0].size // 2**i
        assert level.shape[1:3] == shapes[i][:2]


@over_flows
def test_a_temperature_for_every_part(flow, event):
    key, shape = jax.random.key(0), (5, *event)
    plain = flow.draw(key, shape)
    each = tuple(0.1 * (i + 1) for i in range(len(plain)))
    for t, one, two in zip(each, plain, flow.draw(key, shape, each), strict=True):
        floats.assert_close(two, t * one, rtol=1e-6)
    for one, two in zip(plain, flow.draw(key, shape, 0.7), strict=True):
        floats.assert_close(two, 0.7 * one, rtol=1e-6)
    with pytest.raises(
        ValueError, match=f"{len(plain) + 1} temperatures .* {len(plain)} l"
    ):
        flow.draw(key, shape, (*each, 1.0))


def test_parts_are_drawn_apart():
    flow = Glow(2)
    first, top = flow.draw(jax.random.key(0), (2000, 4, 4, 1))
    pair = np.stack([np.ravel(first[:, 0, 0, 0]), np.ravel(top[:, 0, 0, 0])])
    assert abs(np.corrcoef(pair)[0, 1]) < 0.1
    assert np.std(pair, axis=1) == pytest.approx([1.0, 1.0], abs=0.05)


@pytest.mark.parametrize(
    ("flow", "event", "times"),
    [
        (Glow(3), (28, 28, 1), 3),
        (Glow(1), (3, 4, 1), 1),
        (Glow(1), (16,), 1),
        (MultiScaleRealNVP(3), (6, 4, 1), 2),
    ],
)
def test_events_that_do_not_fit_are_refused_with_the_way_out(flow, event, times):
    divides = f"sides that {2**times} divides. Set model.args.levels accordingly"
    message = f"{type(flow).__name__} of .*{times} times; data of shape .*{divides}"
    with pytest.raises(ValueError, match=message):
        flow.latent_shapes(event)
    with pytest.raises(ValueError, match=message):
        flow.draw(jax.random.key(0), (2, *event))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(flow.init, jax.random.key(0), jnp.zeros((2, *event)))


def test_the_way_out_leads_out():
    # 28 can be halved twice.
    assert Glow(2).latent_shapes((28, 28, 1)) == ((14, 14, 2), (7, 7, 8))


def test_no_levels_are_refused():
    with pytest.raises(ValueError, match="levels=0: expected at least 1"):
        jax.eval_shape(Glow(0).init, jax.random.key(0), jnp.zeros((2, 4, 4, 1)))


def test_realnvp_moves_every_pixel_with_checkerboards_alone():
    flow, event = FLOWS[2]
    case = laws.Case("nvp", flow, event, noise=0.3, start=False)
    x = case.data()
    z = case.apply(x, method="encode").z[0]
    moved = case.apply(x.at[:, 1, 1, 0].add(1.0), method="encode").z[0]
    unchanged = np.max(np.abs(moved - z), axis=(0, 3)) == 0
    assert not unchanged[1, 1]
    assert not unchanged[0, 1]


def test_nice_on_images_is_nice_on_vectors():
    flow, event = NICE(steps=3, hidden=(8,)), (2, 3, 2)
    vectors = laws.Case("nice", flow, (12,), start=False)
    x = vectors.data()
    flat = vectors.apply(x, method="encode")
    whole = jax.jit(functools.partial(flow.apply, method="encode"))(
        vectors.variables, x.reshape(-1, *event)
    )
    floats.assert_close(whole.z[0].reshape(x.shape), flat.z[0])
    floats.assert_close(whole.log_prob, flat.log_prob)
    assert len(whole.levels) == len(flat.levels) == 4
    for one, two in zip(whole.levels, flat.levels, strict=True):
        assert one.shape[1:] == event
        floats.assert_close(one.reshape(two.shape), two)
    decoding = jax.jit(functools.partial(flow.apply, method="decode"))(
        vectors.variables, whole.z
    )
    np.testing.assert_allclose(decoding.x, x.reshape(-1, *event), atol=1e-4)
    shapes = jax.eval_shape(flow.init, jax.random.key(0), x.reshape(-1, *event))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, vectors.variables)
