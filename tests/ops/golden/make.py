"""Makes the golden values of splines from nflows, zuko and normflows.

Run by hand, once, in an environment with PyTorch, which fdnf itself never imports:

    pip install torch nflows==0.14 zuko==1.6.0 normflows==1.7.3
    python tests/ops/golden/make.py

The values in the repository were made with these, torch 2.13.0+cpu and numpy 2.4.6.
Raw numbers and elements are rounded to float32; everything is computed in float64.
Of each library the file has, for 8 bins on [-3, 3],

    <library>/raw          [outputs, n] as the library takes them: widths, heights and
                           slopes (7 of them; 8 of normflows, whose spline is circular)
    <library>/x            [n] elements, in the box, at its edges, outside
    <library>/y            their values
    <library>/log_slope    log dy/dx
    <library>/inverse      what the library's inverse makes of x
    <library>/inverse_log_slope
"""

import pathlib

import numpy as np
import torch
from nflows.transforms.splines import rational_quadratic
from normflows.utils import splines
from zuko.transforms import MonotonicRQSTransform

HERE = pathlib.Path(__file__).parent
BINS, BOX, COUNT = 8, 3.0, 60


def drawn(outputs, seed):
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(outputs, COUNT)) * rng.uniform(0.3, 1.2, COUNT)
    x = rng.uniform(-BOX, BOX, COUNT)
    x[:8] = [-BOX, BOX, 0, 3.01, -3.01, 7, -100, 1e6]
    as_stored = (each.astype(np.float32).astype(np.float64) for each in (raw, x))
    return tuple(torch.from_numpy(each) for each in as_stored)


def parts(raw):
    return raw[:BINS].T, raw[BINS : 2 * BINS].T, raw[2 * BINS :].T


def of_nflows(raw, x, inverse):
    return rational_quadratic.unconstrained_rational_quadratic_spline(
        x, *parts(raw), inverse=inverse, tails="linear", tail_bound=BOX
    )


def of_normflows(raw, x, inverse):
    return splines.unconstrained_rational_quadratic_spline(
        x, *parts(raw), inverse=inverse, tails="circular", tail_bound=BOX
    )


def of_zuko(raw, x, inverse):
    spline = MonotonicRQSTransform(*parts(raw), bound=BOX)
    return (spline.inv if inverse else spline).call_and_ladj(x)


def main():
    found = {}
    for seed, (name, function) in enumerate(
        {"nflows": of_nflows, "normflows": of_normflows, "zuko": of_zuko}.items()
    ):
        raw, x = drawn(3 * BINS - (name != "normflows"), seed)
        y, log_slope = function(raw, x, inverse=False)
        inverse, inverse_log_slope = function(raw, x, inverse=True)
        there, _ = function(raw, inverse, inverse=False)
        np.testing.assert_allclose(there, x, rtol=1e-8, atol=1e-8)
        values = {"y": y, "log_slope": log_slope, "inverse": inverse}
        values |= {"inverse_log_slope": inverse_log_slope}
        found |= {f"{name}/{key}": value.numpy() for key, value in values.items()}
        found |= {f"{name}/raw": raw.float().numpy(), f"{name}/x": x.float().numpy()}
    np.savez_compressed(HERE / "splines.npz", **found)


if __name__ == "__main__":
    main()
