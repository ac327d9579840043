"""A small Glow against normflows, an independent implementation, weights carried over.

`golden/make.py` made the values. The two libraries agree in the squeeze's order of
channels, in the half that is passed on, in the half that conditions, and in the order
of layers from data to latent (activation norm, 1x1 convolution, coupling). They differ
in this:

- Parameters of log-scales are the log-scales in normflows, and go through soft clamps
  in fdnf: the inverse of the clamp is carried over. The coupling's scale has a floor in
  fdnf, which is set to 1e-9.
- normflows' activation norm and coupling take shifts away where fdnf adds them, and its
  conditioner gives shifts and raw scales in turn where fdnf gives two halves.
- Its conditioner has no norms: fdnf's have scale 1.
- Its Gaussians belong to the prior, and latents keep their location and scale; in fdnf
  they are standardised.
"""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.coupling import Coupling
from fdnf.bijectors.invertible_conv import InvertibleConv, InvertibleConvPLU
from fdnf.flows.glow import Glow
from fdnf.metrics import likelihood
from fdnf.nets.conv import ConvBlock
from fdnf.ops import conditioners, squeeze
from tests import floats

LEVELS, STEPS, HIDDEN = 2, 2, 8
ACTNORM_BOUND, LOG_S_BOUND, PRIOR_BOUND = 12.0, 5.0, 5.0
FLOWS = {
    name: Glow(LEVELS, STEPS, HIDDEN, plu=plu, learn_top=plu, floor=1e-9)
    for name, plu in (("full", False), ("plu", True))
}
over_flows = pytest.mark.parametrize("name", FLOWS)


class Golden(NamedTuple):
    x: jax.Array
    weights: dict[str, np.ndarray]
    values: dict[str, np.ndarray]


def load(name):
    path = pathlib.Path(__file__).parent / "golden" / "normflows_glow.npz"
    with np.load(path) as file:
        own = {k.split("/", 1)[1]: file[k] for k in file if k.startswith(f"{name}/")}
        x = jnp.asarray(file["x"], jnp.float32)
    weights, values = {}, {}
    for key, value in own.items():
        if key.startswith("weight/"):
            weights[key.removeprefix("weight/")] = value.astype(np.float32)
        else:
            values[key] = value
    return Golden(x, weights, values)


def raw(log_scale, bound):
    assert np.max(np.abs(log_scale)) < 0.9 * bound
    return np.asarray(conditioners.inverse_soft_clamp(jnp.asarray(log_scale), bound))


def halves(interleaved):
    """(shift, raw scale) in turn along the first axis to the two halves, negated shift.

    normflows: (x - shift) scale.
    """
    return np.concatenate([-interleaved[0::2], interleaved[1::2]])


def convolution(weights, prefix, arrange=lambda w: w):
    kernel, bias = (arrange(weights[f"{prefix}.{k}"]) for k in ("weight", "bias"))
    return {
        "kernel": kernel.transpose(2, 3, 1, 0),
        "bias": bias,
        "raw_log_scale": np.zeros_like(bias),
    }


def step_of(weights, prefix, plu):
    """(params, constants) of one step."""
    s, t = (weights[f"{prefix}.flows.2.{k}"].ravel() for k in "st")
    net = f"{prefix}.flows.0.flows.1.param_map.net"
    drawn = {}
    if plu:
        at = f"{prefix}.flows.1"
        mixing = {
            "lower": weights[f"{at}.L"],
            "upper": weights[f"{at}.U"],
            "raw_log_s": raw(weights[f"{at}.log_S"], LOG_S_BOUND),
        }
        drawn = {
            "permutation": weights[f"{at}.P"] > 0,
            "sign": weights[f"{at}.sign_S"] > 0,
        }
    else:
        mixing = {"weight": weights[f"{prefix}.flows.1.W"]}
    conditioner = {
        "conv_in": convolution(weights, f"{net}.0"),
        "conv_mid": convolution(weights, f"{net}.2"),
        "conv_out": convolution(weights, f"{net}.4", halves),
    }
    params = {
        "parts_0": {"bias": -t, "raw_log_scale": raw(-s, ACTNORM_BOUND)},
        "parts_1": mixing,
        "parts_2": {"conditioner": conditioner},
    }
    return params, {"parts_1": drawn}


def prior_of(weights, i, learned):
    """(location, log-scale) per channel of latent i, counted from the data."""
    at = f"q0.{LEVELS - 1 - i}"
    if not learned:
        assert not weights[f"{at}.loc"].any()
        assert not weights[f"{at}.log_scale"].any()
        zeros = np.zeros(weights[f"{at}.loc"].shape[1], np.float32)
        return zeros, zeros
    return tuple(
        (weights[f"{at}.{k}"] * np.exp(3 * weights[f"{at}.{k}_logs"])).ravel()
        for k in ("loc", "log_scale")
    )


def variables_of(flow, weights):
    """normflows' weights as fdnf's, in the shapes that `init` would give."""
    params, constants = {}, {}
    for i in range(LEVELS):
        steps = [
            step_of(weights, f"flows.{LEVELS - 1 - i}.{STEPS - 1 - k}", flow.plu)
            for k in range(STEPS)
        ]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)
        for tree, own in zip((params, constants), stacked, strict=True):
            tree[f"stacks_{i}"] = {"parts_1": {"step": own}}
        location, log_scale = prior_of(weights, i, flow.learn_top)
        bias = np.concatenate([location, raw(log_scale, PRIOR_BOUND)])
        if i == LEVELS - 1:
            params["top"] = {"bias": bias}
        else:
            kernel = np.zeros((3, 3, len(location), len(bias)), np.float32)
            gaussian = {
                "kernel": kernel,
                "bias": bias,
                "raw_log_scale": np.zeros_like(bias),
            }
            params[f"priors_{i}"] = {"conv": gaussian}
    if not flow.learn_top:
        del params["top"]
    return (
        {"params": params, "constants": constants} if flow.plu else {"params": params}
    )


@over_flows
def test_weights_fit_to_the_unit(name):
    flow, golden = FLOWS[name], load(name)
    expected = jax.eval_shape(flow.init, jax.random.key(0), golden.x)
    found = variables_of(flow, golden.weights)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.shape == two.shape
        assert one.dtype == two.dtype


@over_flows
def test_densities_and_latents_are_normflows(name):
    flow, golden = FLOWS[name], load(name)
    variables = variables_of(flow, golden.weights)
    encoding = jax.jit(lambda v, x: flow.apply(v, x))(variables, golden.x)
    floats.assert_close(encoding.log_prob, golden.values["log_prob"], rtol=1e-5)
    bits = likelihood.bits_per_dim(float(np.mean(encoding.log_prob)), golden.x[0].size)
    assert bits == pytest.approx(float(golden.values["bits_per_dim"]), abs=1e-4)
    for i, z in enumerate(encoding.z):
        location, log_scale = prior_of(golden.weights, i, flow.learn_top)
        theirs = golden.values[f"latent_{i}"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(
            z, (theirs - location) * np.exp(-log_scale), atol=1e-4
        )


@over_flows
def test_log_det_of_every_layer_is_normflows(name):
    flow, golden = FLOWS[name], load(name)
    variables = variables_of(flow, golden.weights)

    mixing = InvertibleConvPLU() if flow.plu else InvertibleConv()
    layers = (ActNorm(), mixing, Coupling(ConvBlock(HIDDEN), floor=flow.floor))

    @jax.jit
    def log_dets(variables, h):
        found = []
        for i in range(LEVELS):
            h = squeeze.squeeze(h)
            at = {
                kind: tree[f"stacks_{i}"]["parts_1"]["step"]
                for kind, tree in variables.items()
            }
            for k in range(STEPS):
                own = jax.tree.map(lambda leaf, k=k: leaf[k], at)
                for j, layer in enumerate(layers):
                    part = {
                        kind: tree.get(f"parts_{j}", {}) for kind, tree in own.items()
                    }
                    h, log_det = layer.apply(part, h)
                    found.append(log_det)
            h = h[..., : h.shape[-1] // 2]
        return jnp.stack(found)

    theirs = golden.values["log_dets"]
    assert theirs.shape == (LEVELS, STEPS, 3, len(golden.x))
    found = np.reshape(log_dets(variables, golden.x), theirs.shape)
    np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-5)


@over_flows
def test_latents_of_normflows_decode_to_the_images(name):
    flow, golden = FLOWS[name], load(name)
    variables = variables_of(flow, golden.weights)
    z = []
    for i in range(LEVELS):
        location, log_scale = prior_of(golden.weights, i, flow.learn_top)
        theirs = golden.values[f"latent_{i}"].transpose(0, 2, 3, 1)
        z.append(jnp.asarray((theirs - location) * np.exp(-log_scale)))
    decode = jax.jit(lambda v, z: flow.apply(v, z, method="decode"))
    decoding = decode(variables, tuple(z))
    np.testing.assert_allclose(decoding.x, golden.x, atol=1e-3)


def test_golden_values_depend_on_what_they_check():
    # Log-determinants that were the same for all images would check little.
    for name in FLOWS:
        spread = np.ptp(load(name).values["log_dets"], axis=-1)
        assert np.all(spread[:, :, :2] == 0)
        assert np.all(spread[:, :, 2] > 1)
