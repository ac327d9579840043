"""Maps of one element: against automatic differentiation, and at their extremes."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from fdnf.bijectors import transformers
from fdnf.bijectors.transformers import Additive, Affine, Compose, RationalQuadratic
from tests import floats

BOX = 2.5
SPLINE = RationalQuadratic(bins=3, box=BOX)
GIVEN = {"name": "spline", "bins": 3, "box": BOX}
CIRCLE = RationalQuadratic(bins=3, box=BOX, circular=True)
ALL = {
    "affine": Affine(),
    "additive": Additive(),
    "spline": SPLINE,
    "circle": CIRCLE,
    "inverse": transformers.Inverse(),
}
over_all = pytest.mark.parametrize("name", ALL)
over_splines = pytest.mark.parametrize("name", ["spline", "circle"])
over_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])
# A circle's edge is a spline's with other slopes at the ends. In float32 CI has the
# splines of `test_laws`.
over_all_and_dtypes = pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(
            *(name, dtype),
            marks=[pytest.mark.slow]
            * (name in ("circle", "spline") and dtype == np.float32),
        )
        for name in ALL
        for dtype in (np.float64, np.float32)
    ],
)
# In the box, at its ends, outside, and far outside.
PLACES = np.array([-1.9, -0.3, 0.0, 0.71, 2.2, -BOX, BOX, 2.6, -4.1, 1e6, -1e6])
# Of the raw numbers: usual, and what no training should meet.
SIZES = (0.8, 50.0, 1e4)


class Seen:
    """Values, slopes and derivatives of both directions, by one compiled program."""

    def __init__(self, raw, v, found):
        self.raw, self.v = raw, v
        values, self.trips, self.first, self.second = jax.device_get(found)
        self.y, self.up, self.x, self.down = values


@functools.cache
def seen(name, dtype):
    """Every place with raw numbers of every size, [places] for each size in turn."""
    transformer, draw = ALL[name], np.random.default_rng(0)
    shape = transformer.outputs, len(PLACES)
    signs = [size * draw.choice([-1, 1], shape) for size in SIZES[1:]]
    raw = np.concatenate([SIZES[0] * draw.normal(size=shape), *signs], axis=1)
    v = np.tile(PLACES, len(SIZES))
    with jax.enable_x64(dtype == np.float64):
        raw, v = jnp.asarray(raw, dtype), jnp.asarray(v, dtype)
        return Seen(raw, v, _found(transformer, raw, v))


@functools.partial(jax.jit, static_argnums=0)
def _found(transformer, raw, v):
    def both(raw, v):
        there, back = transformer.forward(raw, v), transformer.inverse(raw, v)
        return jnp.stack([*there, *back])

    def slopes(raw, v):
        pull = jax.vjp(both, raw, v)[1]
        return jax.vmap(pull)(jnp.eye(4)[:, :, None] * jnp.ones_like(v))

    values, ones = both(raw, v), (jnp.ones_like(raw), jnp.ones_like(v))
    first, second = jax.jvp(slopes, (raw, v), ones)
    trips = transformer.inverse(raw, values[0]), transformer.forward(raw, values[2])
    return values, trips, first, second


@over_all_and_dtypes
def test_round_trips(name, dtype):
    found = seen(name, dtype)
    usual = slice(None, len(PLACES) if dtype == np.float32 else None)
    precision = 8 * np.finfo(dtype).eps
    (back, down), (there, up) = found.trips
    pairs = ((found.up, down, back), (found.down, up, there))
    for slope, other, v in pairs:
        # What a rounding of the value makes of the argument, and the reverse.
        size = np.maximum(np.maximum(1, np.abs(found.v)), np.abs(found.raw[0]))
        steep = np.exp(np.abs(slope)) * size * precision
        allowed = np.minimum(50 * steep, 1e-2) if dtype == np.float64 else 50 * steep
        assert np.all((np.abs(v - found.v) <= allowed)[usual])
        # A circle's edge may be rounded to what is no part of it.
        gentle = (np.abs(slope) < 3) & (np.abs(found.v) < 1e3)
        gentle &= np.abs(found.v) != BOX
        assert np.all((np.abs(slope + other)[gentle])[usual] <= 1e4 * precision)
        assert gentle.sum() > 5
    assert found.y.dtype == found.down.dtype == dtype


@over_all_and_dtypes
def test_slopes_are_those_of_automatic_differentiation(name, dtype):
    found = seen(name, dtype)
    by_v = found.first[1]
    usual = slice(None, len(PLACES) if dtype == np.float32 else None)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    for index, log_slope in ((0, found.up), (2, found.down)):
        np.testing.assert_allclose(
            by_v[index][usual], np.exp(log_slope)[usual], rtol=tolerance, atol=tolerance
        )


@over_all_and_dtypes
def test_all_is_finite_however_extreme(name, dtype):
    found = seen(name, dtype)
    values = found.y, found.up, found.x, found.down, found.trips, found.first
    for leaf in jax.tree.leaves((values, found.second)):
        assert np.all(np.isfinite(leaf))


@over_all
def test_second_derivatives_are_differences_of_first(name):
    found, step = seen(name, np.float64), 1e-6
    usual = slice(None, 5)
    with jax.enable_x64(True):
        ends = [
            _found(ALL[name], found.raw + by, found.v + by)[2] for by in (step, -step)
        ]
    for up, down, second in zip(*ends, found.second, strict=True):
        expected = (np.asarray(up) - np.asarray(down)) / (2 * step)
        np.testing.assert_allclose(
            second[..., usual], expected[..., usual], rtol=1e-5, atol=1e-6
        )


@over_splines
def test_derivatives_of_raw_numbers_are_differences(name):
    found, step, usual = seen(name, np.float64), 1e-6, slice(None, 9)
    function = jax.jit(
        lambda raw: (*ALL[name].forward(raw, found.v), *ALL[name].inverse(raw, found.v))
    )
    with jax.enable_x64(True):
        for row in range(ALL[name].outputs):
            moved = jnp.zeros_like(found.raw).at[row].set(step)
            up, down = function(found.raw + moved), function(found.raw - moved)
            expected = (np.stack(up) - np.stack(down)) / (2 * step)
            np.testing.assert_allclose(
                found.first[0][:, row, usual], expected[:, usual], rtol=1e-6, atol=1e-7
            )


@over_all_and_dtypes
def test_zero_is_the_identity(name, dtype):
    with jax.enable_x64(dtype == np.float64):
        v = jnp.linspace(-4, 4, 33, dtype=dtype)
        raw = jnp.zeros((ALL[name].outputs, 33), dtype)
        for mapped, log_slope in (
            ALL[name].forward(raw, v),
            ALL[name].inverse(raw, v),
        ):
            atol = 10 * np.finfo(dtype).eps
            np.testing.assert_allclose(mapped, v, rtol=0, atol=atol)
            np.testing.assert_allclose(log_slope, 0, rtol=0, atol=atol)


@over_splines
@over_dtypes
def test_splines_increase_and_keep_the_box(name, dtype):
    spline, draw = ALL[name], np.random.default_rng(3)
    with jax.enable_x64(dtype == np.float64):
        v = jnp.linspace(-BOX, BOX, 501, dtype=dtype)
        for size in (1.0, 5.0, 1e4):
            raw = jnp.asarray(size * draw.normal(size=(spline.outputs, 1)), dtype)
            raw = jnp.broadcast_to(raw, (spline.outputs, 501))
            y, up = spline.forward(raw, v)
            # Where it is flat, float32 has the same number twice, or rounds it down.
            assert np.min(np.diff(y)) >= -BOX * np.finfo(dtype).eps * 4
            # A rounding, times a slope of 1e3.
            ends = np.asarray(y)[[0, -1]]
            atol = 5e3 * np.finfo(dtype).eps
            np.testing.assert_allclose(ends, [-BOX, BOX], rtol=0, atol=atol)
            assert np.max(up) <= np.log(4e3)


def test_circles_join_in_value_and_slope():
    draw = np.random.default_rng(4)
    with jax.enable_x64(True):
        raw = jnp.asarray(draw.normal(size=(CIRCLE.outputs, 1)))
        ends = jnp.asarray([-BOX, -BOX + 1e-9, BOX - 1e-9, BOX])
        y, up = CIRCLE.forward(jnp.broadcast_to(raw, (CIRCLE.outputs, 4)), ends)
        np.testing.assert_allclose(np.asarray(y)[[0, 3]], [-BOX, BOX], atol=1e-12)
        np.testing.assert_allclose(up, np.full(4, up[0]), atol=1e-6)
        assert abs(up[0]) > 0.1


@over_splines
def test_at_a_knot_both_bins_say_the_same(name):
    spline, draw = ALL[name], np.random.default_rng(5)
    with jax.enable_x64(True):
        raw = jnp.asarray(draw.normal(size=(spline.outputs, 3)))
        raw = raw.at[: spline.bins].set(0)
        # Equal widths: the knots are known.
        knot = -BOX + 2 * BOX / spline.bins
        v = jnp.asarray([knot - 1e-9, knot, knot + 1e-9])
        raw = jnp.broadcast_to(raw[:, :1], raw.shape)
        for mapped in (
            spline.forward(raw, v),
            spline.inverse(raw, spline.forward(raw, v)[0]),
        ):
            for part in mapped:
                np.testing.assert_allclose(part, part[1], atol=1e-7)
        slope = jax.vjp(lambda v: spline.forward(raw, v)[0], v)[1](jnp.ones(3))[0]
        np.testing.assert_allclose(slope, slope[1], atol=1e-7)


def test_inverses_differentiate_within_scans_and_vmaps():
    spline, draw = RationalQuadratic(bins=2, box=BOX), np.random.default_rng(6)
    along = draw.normal(size=(2, spline.outputs, 3))

    def total(raw):
        def step(y, raw):
            return spline.inverse(raw, y)

        x, log_slopes = jax.lax.scan(step, jnp.asarray([-1.0, 0.4, 3.0]), raw)
        return jnp.sum(jnp.sin(x)) + jnp.sum(log_slopes)

    @jax.jit
    def gradients(raw):
        return jax.jvp(jax.grad(total), (raw,), (jnp.asarray(along),))

    with jax.enable_x64(True):
        raw = 0.5 * draw.normal(size=along.shape)
        _, second = gradients(raw)
        up, down = (gradients(raw + by * along)[0] for by in (1e-6, -1e-6))
        floats.assert_close(second, (up - down) / 2e-6, rtol=1e-7)
        y = jnp.asarray([-1.0, 0.4, 3.0])
        mapped = jax.vmap(spline.inverse, in_axes=(0, None))(raw, y)
        alone = [spline.inverse(jnp.asarray(each), y) for each in raw]
        np.testing.assert_allclose(mapped, np.swapaxes(alone, 0, 1), atol=1e-12)


def test_affine_starts_with_a_standard_batch():
    draw = np.random.default_rng(7)
    x = jnp.asarray(3 + 5 * draw.normal(size=(256, 2)), jnp.float32)
    raw = jnp.asarray(0.1 * draw.normal(size=(2, 256, 2)), jnp.float32)
    bias = Affine().start(x, raw)
    y, _ = Affine().forward(raw + bias[:, None], x)
    np.testing.assert_allclose(np.mean(y, axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.std(y, axis=0), 1, atol=1e-3)
    assert Additive().start(x, raw[:1]) is None
    assert SPLINE.start(x, raw) is None


def test_a_composition_is_one_after_the_other():
    both, draw = Compose((Affine(bound=2.0), SPLINE)), np.random.default_rng(8)
    x = jnp.asarray(3 + 5 * draw.normal(size=(64, 2)), jnp.float32)
    raw = jnp.asarray(0.3 * draw.normal(size=(both.outputs, 64, 2)), jnp.float32)
    raw = raw + both.start(x, raw)[:, None]
    between, first = Affine(bound=2.0).forward(raw[:2], x)
    np.testing.assert_allclose(np.mean(between, axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.std(between, axis=0), 1, atol=1e-2)
    # The spline starts as the identity on average.
    np.testing.assert_allclose(np.mean(raw[2:], axis=1), 0, atol=1e-5)
    y, second = SPLINE.forward(raw[2:], between)
    found, log_slope = both.forward(raw, x)
    floats.assert_close(found, y)
    floats.assert_close(log_slope, first + second)
    back, down = both.inverse(raw, found)
    floats.assert_close(back, x, rtol=1e-4)
    floats.assert_close(down, -log_slope, rtol=1e-4)


def test_an_inverse_is_the_other_direction_by_the_same_numbers():
    inverse, draw = transformers.Inverse(SPLINE), np.random.default_rng(9)
    raw = jnp.asarray(draw.normal(size=(SPLINE.outputs, 6)), jnp.float32)
    v = jnp.asarray([-4.0, -1.0, -0.2, 0.3, 1.4, 3.0])
    for ours, other in (("forward", "inverse"), ("inverse", "forward")):
        pair = getattr(inverse, ours)(raw, v), getattr(SPLINE, other)(raw, v)
        np.testing.assert_array_equal(*pair)
    assert transformers.inverse_of(SPLINE) == inverse
    assert transformers.inverse_of(inverse) == SPLINE
    assert transformers.make({"name": "inverse", "of": GIVEN}) == inverse
    assert inverse.affine(raw) is None
    assert inverse.start(v[None], raw[:, None]) is None


def test_affine_maps_say_their_shift_scale_and_units():
    draw, v = np.random.default_rng(10), jnp.asarray([-1.0, 0.5, 2.0])
    raw = jnp.asarray(draw.normal(size=(2, 3)), jnp.float32)
    for made in (Affine(2.0), transformers.Inverse(Affine(2.0)), Additive()):
        own = raw[: made.outputs]
        shift, log_scale = made.affine(own)
        floats.assert_close(made.inverse(own, v)[0], shift + v * jnp.exp(log_scale))
    both = Compose((Affine(2.0), SPLINE))
    raw = jnp.concatenate([raw, jnp.ones((SPLINE.outputs, 3))])
    scale = np.exp(Affine(2.0).affine(raw[:2])[1])
    np.testing.assert_array_equal(both.units(raw)[0], scale)
    np.testing.assert_array_equal(both.units(raw)[1:], 1)


def test_inverse_affine_maps_start_with_a_standard_batch():
    draw, made = np.random.default_rng(11), transformers.Inverse()
    x = jnp.asarray(3 + 5 * draw.normal(size=(256, 2)), jnp.float32)
    raw = jnp.asarray(0.02 * draw.normal(size=(2, 256, 2)), jnp.float32)
    y, _ = made.forward(raw + made.start(x, raw)[:, None], x)
    np.testing.assert_allclose(np.mean(y, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(y, axis=0), 1, atol=0.05)


def test_what_changes_an_inverse_is_its_gain():
    raw, y = jnp.asarray([[0.3], [-0.8]]), jnp.asarray([1.7])
    by_rule = transformers.Transformer.gains(Affine(), raw, y)
    floats.assert_close(Affine().gains(raw, y), by_rule)
    assert by_rule[0] == 1


def test_transformers_are_made_of_names_and_mappings():
    assert transformers.make("affine") == Affine()
    assert transformers.make(SPLINE) is SPLINE
    given = {"name": "spline", "bins": 3, "box": BOX}
    assert transformers.make(given) == SPLINE
    assert transformers.make(ml_collections.ConfigDict(given)) == SPLINE
    assert hash(transformers.make(given)) == hash(SPLINE)
    assert (SPLINE.outputs, CIRCLE.outputs, Additive().outputs) == (8, 9, 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "splines",
            r"expected one of \['additive', 'affine', 'compose', 'inverse', 'spline'\]",
        ),
        (None, "transformer is None: expected one of"),
        ({"bins": 8}, 'a mapping with one of them as "name"'),
        ({"name": "spline", "knots": 8}, "has no 'knots'; it has bins, box"),
        ({"name": "additive", "bound": 1.0}, "has no 'bound'; it has no settings"),
        ({"name": "compose", "parts": ()}, r"parts=\(\)\): expected several"),
        ({"name": "compose", "parts": "spline"}, "parts='spline'.: expected several"),
        ({"name": "spline", "bins": 1}, r"RationalQuadratic\(bins=1\): expected at"),
        (
            {"name": "spline", "box": 0.0},
            r"box=0.0\): expected a finite number above 0",
        ),
        ({"name": "spline", "min_width": 0.2}, "below 1 / bins = 0.125"),
        (
            {"name": "spline", "min_height": 1e-7},
            "min_height=1e-07.: expected at least",
        ),
        ({"name": "spline", "min_slope": 1.0}, "expected at least 1e-5 and below 1"),
        ({"name": "affine", "bound": 0.0}, r"Affine\(bound=0.0\): expected a number"),
    ],
)
def test_what_is_no_transformer_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        transformers.make(value)
