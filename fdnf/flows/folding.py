"""Layers folded for sampling: what training keeps apart becomes one.

Arithmetic is float64, in numpy on the host; results have the dtype of what they are
made of. Leading axes, such as that of a stack of steps, are kept.

Reference: Baranchuk et al. (2021), sections 3.1 and 3.2 (inference of the teachers).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.invertible_conv import InvertibleConvPLU
from fdnf.nets import conv


def linear(mixing: Any, norm: Any = None, drawn: Any = None) -> dict[str, Array]:
    """Variables of a `FoldedConv`: a 1x1 convolution, its inverse at hand.

    Args:
      mixing: parameters of an `InvertibleConv` or `InvertibleConvPLU`.
      norm: of the `ActNorm` before it, if there is one; both become
        W diag(s) (x + b): weight W diag(s), bias W diag(s) b.
      drawn: the constants of an `InvertibleConvPLU`.

    Returns:
      weight and inverse `[..., channels, channels]`, bias `[..., channels]`, log_det
      `[...]` of one position.
    """
    weight, log_det = _rotation(mixing, drawn)
    bias = np.zeros(weight.shape[:-1])
    if norm is not None:
        log_scale = _clamped(norm["raw_log_scale"], ActNorm.bound)
        weight = weight * np.exp(log_scale)[..., None, :]
        bias = np.einsum("...ij,...j->...i", weight, _double(norm["bias"]))
        log_det = log_det + log_scale.sum(axis=-1)
    found = {
        "weight": weight,
        "inverse": np.linalg.inv(weight),
        "bias": bias,
        "log_det": log_det,
    }
    dtype = jax.tree.leaves(mixing)[0].dtype
    return {name: jnp.asarray(leaf, dtype) for name, leaf in found.items()}


def _rotation(mixing: Any, drawn: Any) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of a 1x1 convolution, and its log |det|."""
    if "weight" in mixing:
        weight = _double(mixing["weight"])
        return weight, np.linalg.slogdet(weight)[1]
    log_s = _clamped(mixing["raw_log_s"], InvertibleConvPLU.bound)
    eye = np.eye(log_s.shape[-1])
    lower = np.tril(_double(mixing["lower"]), -1) + eye
    sign = np.where(np.asarray(drawn["sign"]) > 0, 1, -1)
    diagonal = (sign * np.exp(log_s))[..., None] * eye
    upper = np.triu(_double(mixing["upper"]), 1) + diagonal
    return _double(np.asarray(drawn["permutation"]) > 0) @ lower @ upper, log_s.sum(
        axis=-1
    )


def net(params: Any) -> dict[str, Any]:
    """A coupling's or injector's network, its norms within kernels and biases.

    Args:
      params: of a `ConvBlock` or `FeatureBlock`.
    """
    folded = dict(params)
    for name in ("conv_in", "conv_mid"):
        folded[name] = _scaled(params[name], params[name])
    # What a condition adds stands between the first convolution and its norm.
    for name in ("context", "conv_features"):
        if name in params:
            folded[name] = _scaled(params[name], params["conv_in"])
    return folded


def _scaled(layer: Any, norm: Any) -> dict[str, Array]:
    """Kernel, and bias if there is one, of `layer` times the scale of `norm`."""
    scale = np.exp(_clamped(norm["raw_log_scale"], conv.BOUND))
    folded = {}
    for name in ("kernel", "bias"):
        if name in layer:
            leaf = _double(layer[name])
            between = (1,) * (leaf.ndim - scale.ndim)
            wide = scale.reshape(*scale.shape[:-1], *between, scale.shape[-1])
            folded[name] = jnp.asarray(leaf * wide, layer[name].dtype)
    return folded


def _clamped(raw: Any, bound: float) -> np.ndarray:
    """`scales.soft_clamp` in float64."""
    return bound * np.tanh(_double(raw) / bound)


def _double(leaf: Any) -> np.ndarray:
    return np.asarray(leaf, np.float64)
