"""Log-likelihood of a set of examples: its mean, its error and its units.

A log-likelihood is in nats, summed over the event; higher is better. Bits per
dimension are lower when better.
"""

import math
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import Float

# One number, or as many as wanted, traced by jax or not.
Number = TypeVar("Number", float, Float[np.ndarray, "..."], Float[jax.Array, "..."])


class Summary(NamedTuple):
    """Mean log-likelihood and its standard error over examples, both in nats."""

    mean: float
    standard_error: float


def summary(
    log_prob: Float[np.ndarray | jax.Array, " n"],
    weights: Float[np.ndarray, " n"] | None = None,
) -> Summary:
    """Mean and standard error of a log-likelihood, accumulated in float64.

    mean = sum_i l_i / n and standard_error = sqrt(sum_i (l_i - mean)^2 / (n - 1) / n);
    with weights w_i of sum 1 they are sum_i w_i l_i and, m rows having a weight,
    sqrt(m / (m - 1) sum_i w_i^2 (l_i - mean)^2).

    Args:
        log_prob: log-likelihood of each example, in nats.
        weights: of each example, not negative, not all 0; None for equal ones.

    Returns:
        The mean (higher is better) and its standard error, in nats. The standard
        error of a single example is nan, as is that of a set with a value that is
        not finite.

    Raises:
        ValueError: there is no example.
    """
    values = np.asarray(log_prob, np.float64)
    if values.size == 0:
        raise ValueError("log_prob has no example: expected at least one row")
    if weights is not None:
        counted = np.asarray(weights) > 0
        values, share = values[counted], np.asarray(weights, np.float64)[counted]
        share = share / share.sum()
        mean = float(share @ values)
        if values.size == 1:
            return Summary(mean, math.nan)
        with np.errstate(invalid="ignore"):
            square = np.sum((share * (values - mean)) ** 2)
        return Summary(mean, math.sqrt(square * values.size / (values.size - 1)))
    with np.errstate(invalid="ignore"):
        mean = float(values.mean())
        if values.size == 1:
            return Summary(mean, math.nan)
        error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return Summary(mean, error)


def bits_per_dim(log_prob: Number, dim: int, quantization: int = 256) -> Number:
    """Bits per dimension of data scaled to a unit interval.

    bits = -log_prob / (dim * ln 2) + log2(quantization), elementwise.

    Args:
        log_prob: log-density, in nats per example, of data whose `quantization`
            levels were dequantized and divided to fill an interval of length 1.
        dim: number of dimensions of one example.
        quantization: number of levels; 1 where the levels are one unit apart.

    Returns:
        Bits per dimension; lower is better, and uniform data give
        log2(quantization).

    Raises:
        ValueError: `dim` or `quantization` below 1.
    """
    if dim < 1 or quantization < 1:
        raise ValueError(
            f"dim={dim} and quantization={quantization}: expected both at least 1"
        )
    return -log_prob / (dim * math.log(2)) + math.log2(quantization)
