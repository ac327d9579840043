"""Spline flows against nflows, an independent implementation, weights carried over.

`golden/make_splines.py` made the values. The two libraries differ in this:

- Units of a masked network are in ascending order of their degrees in fdnf; nflows
  gives the degrees in turn.
- Number j of column i of a network's outputs is number j dim + i in fdnf, and
  i outputs + j in nflows.
- Raw slopes have an offset in fdnf that makes 0 a slope of 1.
- A coupling's network sees all columns in fdnf, those that it moves zeroed.
- fdnf's couplings follow activation norms, here the identity, and the latents of its
  masked flows are in the order of the data.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.maf import MAF
from fdnf.flows.realnvp import RealNVP
from fdnf.ops import conditioners, splines
from tests import floats

DIM, HIDDEN, BINS = 5, 12, 8
SPLINE = {"name": "spline", "bins": BINS, "box": 3.0}
FLOWS = {
    "maf": MAF(steps=2, hidden=(HIDDEN, HIDDEN), transformer=SPLINE),
    "coupling": RealNVP(steps=2, hidden=(HIDDEN, HIDDEN), transformer=SPLINE),
}
over_flows = pytest.mark.parametrize("name", FLOWS)


def load(name):
    with np.load(
        pathlib.Path(__file__).parent / "golden" / "nflows_splines.npz"
    ) as file:
        own = {k.split("/", 1)[1]: file[k] for k in file if k.startswith(f"{name}/")}
        x = file["x"].astype(np.float64)
    weights, values = {}, {}
    for key, value in own.items():
        if key.startswith("weight/"):
            at = key.removeprefix("weight/_transform._transforms.")
            weights[at] = value.astype(np.float64)
        else:
            values[key] = value
    return x, weights, values


def linear(weights, at):
    """(kernel [in, out], bias)."""
    return weights[f"{at}.weight"].T, weights[f"{at}.bias"]


def last(kernel, bias, columns):
    """The last layer with its outputs in fdnf's order, and slopes from their offset."""
    outputs = 3 * BINS - 1
    kernel = kernel.reshape(-1, columns, outputs).swapaxes(1, 2)
    bias = bias.reshape(columns, outputs).T.copy()
    bias[2 * BINS :] -= np.log(np.expm1(1 - splines.Spline().min_slope))
    return kernel.reshape(len(kernel), -1), bias.reshape(-1)


def masked(weights, block):
    """One MADE, its units sorted."""
    at = f"{2 * block}.autoregressive_net"
    degrees = np.arange(HIDDEN) % (DIM - 1) + 1
    order = np.argsort(degrees, kind="stable")
    expected = conditioners.made_degrees(DIM, (HIDDEN,))[1]
    np.testing.assert_array_equal(degrees[order], expected)
    first, first_bias = linear(weights, f"{at}.initial_layer")
    middle, middle_bias = linear(weights, f"{at}.blocks.0.linear")
    end, end_bias = linear(weights, f"{at}.final_layer")
    end, end_bias = last(end[order], end_bias, DIM)
    return {
        "dense_0_kernel": first[:, order],
        "dense_0_bias": first_bias[order],
        "dense_1_kernel": middle[order][:, order],
        "dense_1_bias": middle_bias[order],
        "dense_2_kernel": end,
        "dense_2_bias": end_bias,
    }


def coupled(weights, i):
    """The network of one coupling, which moves the odd columns, then the even ones."""
    at = f"{2 * (i // 2) + i % 2}.transform_net"
    seen = np.arange(i % 2, DIM, 2)
    kernel, bias = linear(weights, f"{at}._input_layer")
    first = np.zeros((DIM, HIDDEN))
    first[seen] = kernel
    names = ("kernel", "bias")
    middle = linear(weights, f"{at}._hidden_layers.0")
    end = last(*linear(weights, f"{at}._output_layer"), DIM - len(seen))
    return {
        "dense_0": {"kernel": first, "bias": bias},
        "dense_1": dict(zip(names, middle, strict=True)),
        "output": dict(zip(names, end, strict=True)),
    }


def variables_of(name, weights, dtype):
    """nflows' weights as fdnf's."""
    if name == "maf":
        steps = [{"parts_0": {"made": masked(weights, i)}} for i in range(2)]
    else:
        still = {"bias": np.zeros(DIM), "raw_log_scale": np.zeros(DIM)}
        steps = [
            {
                "parts_0": still,
                "parts_1": {"conditioner": coupled(weights, 2 * i)},
                "parts_2": {"conditioner": coupled(weights, 2 * i + 1)},
            }
            for i in range(2)
        ]
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves), dtype), *steps)
    return {"params": {"stack": {"step": stacked}}}


@over_flows
def test_weights_fit_to_the_unit(name):
    x, weights, _ = load(name)
    x = jnp.asarray(x, jnp.float32)
    expected = jax.eval_shape(FLOWS[name].init, jax.random.key(0), x)
    found = variables_of(name, weights, jnp.float32)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, expected)


@over_flows
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [pytest.param("float32", 1e-5, marks=pytest.mark.slow), ("float64", 1e-9)],
)
def test_densities_latents_and_inverses_are_those_of_nflows(name, dtype, tolerance):
    flow, (x, weights, values) = FLOWS[name], load(name)
    with jax.enable_x64(dtype == "float64"):
        variables, x = variables_of(name, weights, dtype), jnp.asarray(x, dtype)

        @jax.jit
        def both(variables, x):
            there = flow.apply(variables, x)
            back = flow.apply(variables, (x,), method="decode")
            return there.z[0], there.log_prob, back.x

        z, log_prob, inverse = jax.device_get(both(variables, x))
    floats.assert_close(log_prob, values["log_prob"], rtol=tolerance)
    floats.assert_close(z, values["z"], rtol=tolerance)
    floats.assert_close(inverse, values["inverse"], rtol=tolerance)


@over_flows
def test_golden_values_depend_on_what_they_check(name):
    x, _, values = load(name)
    assert np.std(values["log_prob"]) > 1
    for other in (values["z"], values["inverse"]):
        assert np.mean(np.abs(other - x)) > 0.2
