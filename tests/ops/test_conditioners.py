"""Masks by what they let through, and scales by their bounds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import conditioners, convolutions
from tests import floats

SIZES = [(1, (4,)), (2, (1,)), (5, ()), (6, (3,)), (4, (9, 7)), (7, (2, 11, 5))]


def jacobian(kernels, dim):
    """Of tanh layers at a point, [out, in], by the chain rule."""
    h, slopes = np.linspace(-0.3, 0.4, dim), np.eye(dim)
    for kernel in kernels[:-1]:
        h = np.tanh(h @ kernel)
        slopes = slopes @ kernel * (1 - h**2)
    return (slopes @ kernels[-1]).T


@pytest.mark.parametrize("lowest", [0, 1])
@pytest.mark.parametrize(("dim", "hidden"), SIZES)
def test_jacobian_is_strictly_lower_triangular(dim, hidden, lowest):
    draw = np.random.default_rng(0).uniform
    kernels = [
        mask * draw(0.5, 1.0, mask.shape)
        for mask in conditioners.made_masks(dim, hidden, lowest=lowest)
    ]
    slopes = jacobian(kernels, dim)
    assert np.all(slopes[np.triu_indices(dim)] == 0)
    # Positive weights and a rising activation: a path cannot be cancelled.
    if min(hidden, default=dim) >= dim:
        assert np.all(slopes[np.tril_indices(dim, -1)] > 0)


@pytest.mark.parametrize("lowest", [0, 1])
@pytest.mark.parametrize(("dim", "hidden"), SIZES)
def test_degrees_are_sorted_and_evenly_spread(dim, hidden, lowest):
    inputs, *layers = conditioners.made_degrees(dim, hidden, lowest=lowest)
    np.testing.assert_array_equal(inputs, np.arange(1, dim + 1))
    highest = max(lowest, dim - 1)
    for width, degrees in zip(hidden, layers, strict=True):
        assert degrees.shape == (width,)
        assert degrees[0] == lowest
        assert degrees[-1] <= highest
        counts = np.bincount(degrees, minlength=highest + 1)[lowest:]
        assert np.ptp(counts) <= 1
        steps = np.diff(degrees)
        assert (steps >= 0).all()
        assert width == 1 or np.ptp(steps) <= 1


def test_narrow_layer_spans_the_whole_range():
    _, degrees = conditioners.made_degrees(64, (3,))
    np.testing.assert_array_equal(degrees, [1, 22, 43])


def test_known_masks():
    first, last = conditioners.made_masks(3, (4,))
    np.testing.assert_array_equal(first, [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(last, [[0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]])
    assert first.dtype == last.dtype == np.float32


def test_degree_zero_reaches_the_first_output():
    _, last = conditioners.made_masks(3, (3,), lowest=0)
    assert last[0, 0] == 1
    _, last = conditioners.made_masks(3, (3,))
    assert not last[:, 0].any()


def test_patterns():
    np.testing.assert_array_equal(
        conditioners.checkerboard(2, 3), [[1, 0, 1], [0, 1, 0]]
    )
    total = conditioners.checkerboard(3, 3) + conditioners.checkerboard(3, 3, 1)
    np.testing.assert_array_equal(total, np.ones((3, 3)))
    np.testing.assert_array_equal(conditioners.alternating(5), [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(conditioners.alternating(4, 1), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conditioners.made_degrees(0, (3,)), "dim is 0"),
        (lambda: conditioners.made_masks(3, (4, 0)), r"hidden is \(4, 0\)"),
        (lambda: conditioners.made_masks(3, (4,), lowest=2), "lowest is 2"),
        (lambda: conditioners.checkerboard(0, 3), "0 x 3"),
        (lambda: conditioners.checkerboard(2, 3, 2), "parity is 2"),
        (lambda: conditioners.alternating(0), "dim is 0"),
        (lambda: conditioners.alternating(3, -1), "parity is -1"),
    ],
)
def test_errors_name_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()


HEIGHT, WIDTH = 4, 3


def rank(channels, order):
    """Place of every (row, column, channel) in the order, flat as the image is."""
    shape = (HEIGHT, WIDTH, channels)
    places = np.arange(np.prod(shape))
    if order == "raster":
        return places
    # Channels first: the place in an array [channel, row, column].
    return places.reshape(channels, HEIGHT, WIDTH).transpose(1, 2, 0).reshape(-1)


def sees(mask):
    """[out, in] booleans: which outputs of a convolution with this kernel see what."""
    inputs = mask.shape[2]
    image = jnp.zeros((1, HEIGHT, WIDTH, inputs))
    slopes = jax.jacfwd(lambda x: convolutions.convolve(x, jnp.asarray(mask)))(image)
    return np.asarray(slopes).reshape(HEIGHT * WIDTH * mask.shape[3], -1) != 0


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("order", conditioners.ORDERS)
def test_a_window_sees_what_comes_before_and_all_of_it(order, channels, mirrored):
    rows, columns, channel = np.indices((HEIGHT, WIDTH, channels)).reshape(3, -1)
    near = np.abs(rows[:, None] - rows) <= 1
    near &= np.abs(columns[:, None] - columns) <= 1
    place = rank(channels, order) * (-1 if mirrored else 1)
    for centre in (False, True):
        mask = conditioners.conv_mask(
            channels, order=order, mirrored=mirrored, centre=centre
        )
        before = place[:, None] >= place if centre else place[:, None] > place
        np.testing.assert_array_equal(sees(mask), near & before)
    assert channel.max() == channels - 1


@pytest.mark.parametrize("order", conditioners.ORDERS)
def test_copies_see_what_their_channel_sees(order):
    single = conditioners.conv_mask(2, order=order)
    several = conditioners.conv_mask(2, copies=(3, 2), order=order)
    assert several.shape == (3, 3, 6, 4)
    for i, j in itertools.product(range(6), range(4)):
        np.testing.assert_array_equal(several[:, :, i, j], single[:, :, i // 3, j // 2])


def test_known_masks_of_conv():
    first = conditioners.conv_mask(1)[:, :, 0, 0]
    np.testing.assert_array_equal(first, [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    assert first.dtype == np.float32
    later = conditioners.conv_mask(2, centre=False)
    np.testing.assert_array_equal(later[:, :, 0, 1], np.ones((3, 3)))
    assert not later[:, :, 1, 0].any()
    wide = conditioners.conv_mask(1, size=5, mirrored=True)[:, :, 0, 0]
    np.testing.assert_array_equal(wide.sum(1), [0, 0, 3, 5, 5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 0}, "channels is 0"),
        ({"channels": 1, "size": 4}, "size 4"),
        ({"channels": 1, "copies": (0, 1)}, r"copies \(0, 1\)"),
        ({"channels": 1, "order": "columns"}, "'columns'"),
    ],
)
def test_errors_name_what_was_given_of_conv(settings, message):
    with pytest.raises(ValueError, match=message):
        conditioners.conv_mask(settings.pop("channels"), **settings)


RAW = jnp.linspace(-12.0, 12.0, 201)


@pytest.mark.parametrize("bound", [0.5, 5.0])
def test_soft_clamp_is_bounded_and_rises(bound):
    clamped = conditioners.soft_clamp(RAW, bound)
    assert np.all(np.abs(clamped) <= bound)
    assert np.all(
        np.diff(conditioners.soft_clamp(jnp.linspace(-2, 2, 101) * bound)) > 0
    )
    assert jax.grad(conditioners.soft_clamp)(0.0) == pytest.approx(1.0)
    assert conditioners.soft_clamp(jnp.asarray(1e30)) == pytest.approx(5.0)


def test_inverse_soft_clamp_undoes_it():
    inside = jnp.linspace(-4.9, 4.9, 50)
    again = conditioners.soft_clamp(conditioners.inverse_soft_clamp(inside))
    np.testing.assert_allclose(again, inside, atol=1e-5)


def test_inverse_soft_clamp_cuts_what_is_out_of_reach():
    raw = conditioners.inverse_soft_clamp(jnp.asarray([-1e9, 7.0]))
    assert np.all(np.isfinite(raw))
    floats.assert_close(conditioners.soft_clamp(raw), [-4.95, 4.95], rtol=1e-5)


@pytest.mark.parametrize("floor", [1e-3, 0.1])
def test_sigmoid_scale_stays_between_floor_and_one(floor):
    scale = np.exp(conditioners.sigmoid_log_scale(jnp.linspace(-50, 50, 101), floor))
    assert np.all(scale >= floor * 0.999)
    assert np.all(scale <= 1.0 + 1e-6)
    assert np.all(np.diff(np.exp(conditioners.sigmoid_log_scale(RAW, floor))) >= 0)


def test_sigmoid_scale_starts_near_one():
    at_zero = float(conditioners.sigmoid_log_scale(jnp.asarray(0.0)))
    expected = 1e-3 + 0.999 / (1 + np.exp(-2.0))
    assert np.exp(at_zero) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "function", [conditioners.soft_clamp, conditioners.sigmoid_log_scale]
)
def test_slopes_are_finite_far_out(function):
    slopes = jax.vmap(jax.grad(function))(jnp.asarray([-1e4, -50.0, 0.0, 50.0, 1e4]))
    assert np.all(np.isfinite(slopes))
    assert np.all(slopes >= 0)
