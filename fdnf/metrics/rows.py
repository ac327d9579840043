"""Rows of features: checked as they come in, and the distances between them."""

import jax
import numpy as np
from jaxtyping import Float


def checked(features: np.ndarray | jax.Array, name: str, least: int = 0) -> np.ndarray:
    """The rows in float64.

    Args:
        features: `[rows, features]`.
        name: what the errors call them.
        least: rows that are needed.

    Returns:
        `[rows, features]`, float64.

    Raises:
        ValueError: another number of axes, too few rows, or a row not finite.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"{name} has shape {rows.shape}: expected [rows, features]")
    if len(rows) < least:
        raise ValueError(f"{name} has {len(rows)} rows: expected at least {least}")
    bad = int((~np.isfinite(rows).all(axis=1)).sum())
    if bad:
        raise ValueError(
            f"{bad} of {len(rows)} rows of {name} are not finite: leave them out and"
            " report how many there were"
        )
    return rows


def pair(
    x: np.ndarray | jax.Array,
    y: np.ndarray | jax.Array,
    least: int,
    names: tuple[str, str] = ("the first sample", "the second sample"),
) -> tuple[np.ndarray, np.ndarray]:
    """Both samples as `checked` gives them.

    Raises:
        ValueError: as `checked`, or they have different numbers of features.
    """
    first, second = (
        checked(sample, name, least) for sample, name in zip((x, y), names, strict=True)
    )
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"samples of {first.shape[1]} and {second.shape[1]} features: expected"
            " equally many"
        )
    return first, second


def squared_distances(
    a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]
) -> Float[np.ndarray, "n m"]:
    """|a_i - b_j|^2 by |a|^2 + |b|^2 - 2 a . b; centre the rows to spare digits."""
    squared = a @ b.T
    squared *= -2
    squared += np.square(a).sum(axis=1)[:, None]
    squared += np.square(b).sum(axis=1)
    return np.maximum(squared, 0, out=squared)
