"""Splines against nflows, zuko and normflows; `golden/make.py` made the values.

The three write raw numbers down differently from fdnf:

- nflows and normflows have slopes of softplus(raw) + 1e-3 without fdnf's offset.
- zuko has no least width, height and slope, but bounds what goes into its softmaxes and
  its exponential, so that there is a raw number of fdnf's for each of its values.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import splines

BINS = 8
# What zuko calls `slope`, its bound.
ZUKO = 1e-3
SPLINES = {
    "nflows": splines.Spline(),
    "normflows": splines.Spline(circular=True),
    "zuko": splines.Spline(min_width=1e-5, min_height=1e-5, min_slope=1e-5),
}


def load(name):
    with np.load(pathlib.Path(__file__).parent / "golden" / "splines.npz") as file:
        return {k.split("/")[1]: file[k] for k in file if k.startswith(f"{name}/")}


def raw_of(name, spline, raw):
    """The peer's raw numbers as fdnf's, in float64."""
    widths, heights, slopes = np.split(raw.astype(np.float64), [BINS, 2 * BINS])
    if name == "zuko":
        widths, heights = (
            _softmax_raw(part, least)
            for part, least in ((widths, spline.min_width), (heights, 1e-5))
        )
        slopes = np.exp(slopes / (1 + np.abs(slopes / np.log(ZUKO))))
        slopes = np.log(np.expm1(slopes - spline.min_slope))
    slopes = slopes - np.log(np.expm1(1 - spline.min_slope))
    return np.concatenate([widths, heights, slopes])


def _softmax_raw(raw, least):
    part = np.exp(raw / (1 + np.abs(2 * raw / np.log(ZUKO))))
    part = part / np.sum(part, axis=0)
    return np.log((part - least) / (1 - BINS * least))


@pytest.mark.parametrize("name", SPLINES)
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("float64", 1e-9)])
def test_values_slopes_and_inverses_are_those_of_peers(name, dtype, atol):
    spline, golden = SPLINES[name], load(name)
    with jax.enable_x64(dtype == "float64"):
        raw = jnp.asarray(raw_of(name, spline, golden["raw"]), dtype)
        x = jnp.asarray(golden["x"], dtype)
        found = splines.forward(spline, raw, x), splines.inverse(spline, raw, x)
        found = jax.device_get(found)
    pairs = (("y", "log_slope"), ("inverse", "inverse_log_slope"))
    for (value, log_slope), names in zip(found, pairs, strict=True):
        # A rounding of the argument is worth the slope's size in the value.
        size = np.maximum(1, np.exp(golden[names[1]])) * np.maximum(1, np.abs(x))
        for one, name in zip((value / size, log_slope / size), names, strict=True):
            np.testing.assert_allclose(one, golden[name] / size, rtol=0, atol=atol)


def test_golden_values_depend_on_what_they_check():
    for name in SPLINES:
        golden = load(name)
        inside = np.abs(golden["x"]) < 3
        assert inside.sum() > 50
        assert np.std(golden["log_slope"][inside]) > 0.5
        assert np.mean(np.abs((golden["y"] - golden["x"])[inside])) > 0.3
