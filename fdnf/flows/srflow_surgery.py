"""SRFlow's layers folded for sampling."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from fdnf.bijectors.actnorm import ActNorm
from fdnf.flows.srflow import SRFlow
from fdnf.nets import conv

Variables = dict[str, Any]


def fold(flow: SRFlow, variables: Variables) -> tuple[SRFlow, Variables]:
    """The same map with fewer operations, for sampling and evaluation.

    Activation norms before a 1x1 convolution become part of it, its inverse and its
    log-determinant are computed once, and the norms within the networks become part
    of their kernels and biases. The arithmetic is float64, in numpy.

    Args:
      flow: an SRFlow.
      variables: its variables, of one run.

    Returns:
      `(flow, variables)`: the folded SRFlow and its variables. They compute what the
      originals do, up to rounding; they are not for training.

    Raises:
      ValueError: if the flow is folded already.

    Reference: Baranchuk et al. (2021), section 3.1 (inference of the teacher).
    """
    if flow.folded:
        raise ValueError("this SRFlow is folded already")
    folded = dict(variables["params"])
    for name in folded:
        if name.startswith("stacks_"):
            level = dict(folded[name])
            # The opening steps are unconditional, and may be absent.
            for part, steps in level.items():
                level[part] = {"step": _fold_step(steps["step"])}
            folded[name] = level
    return flow.clone(folded=True), {"params": folded}


def _fold_step(step: Any) -> dict[str, Any]:
    """Of a stack of steps, all leaves with a leading axis."""
    folded: dict[str, Any] = {"parts_0": _fold_linear(step["parts_0"], step["parts_1"])}
    if "parts_2" in step:
        for i in (1, 2):
            net = step[f"parts_{i + 1}"]["conditioner"]
            folded[f"parts_{i}"] = {"conditioner": _fold_net(net)}
    return folded


def _fold_linear(norm: Any, mixing: Any) -> dict[str, Any]:
    """W diag(s) (x + b): weight W diag(s), bias W diag(s) b."""
    log_scale = _clamped(norm["raw_log_scale"], ActNorm.bound)
    rotation = _double(mixing["weight"])
    weight = rotation * np.exp(log_scale)[:, None, :]
    return _single(
        {
            "weight": weight,
            "inverse": np.linalg.inv(weight),
            "bias": np.einsum("kij,kj->ki", weight, _double(norm["bias"])),
            "log_det": np.linalg.slogdet(rotation)[1] + log_scale.sum(axis=-1),
        }
    )


def _fold_net(net: Any) -> dict[str, Any]:
    folded = dict(net)
    for name in ("conv_in", "conv_mid"):
        scale = _scale(net[name])
        kernel = _double(net[name]["kernel"]) * scale[:, None, None, None]
        bias = _double(net[name]["bias"]) * scale
        folded[name] = _single({"kernel": kernel, "bias": bias})
    if "conv_features" in net:
        # Added between the first convolution and its norm.
        scale = _scale(net["conv_in"])[:, None, None, None]
        kernel = _double(net["conv_features"]["kernel"]) * scale
        folded["conv_features"] = _single({"kernel": kernel})
    return folded


def _scale(layer: Any) -> np.ndarray:
    return np.exp(_clamped(layer["raw_log_scale"], conv.BOUND))


def _clamped(raw: Any, bound: float) -> np.ndarray:
    """`scales.soft_clamp` in float64."""
    return bound * np.tanh(_double(raw) / bound)


def _double(leaf: Any) -> np.ndarray:
    return np.asarray(leaf, np.float64)


def _single(leaves: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: jnp.asarray(leaf, jnp.float32) for name, leaf in leaves.items()}
