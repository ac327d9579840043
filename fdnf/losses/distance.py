"""Distances between activations of student and teacher, one number per row."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from fdnf.types import LogDet

DISTANCES: dict[str, Callable[[Array], Array]] = {"l1": jnp.abs, "l2": jnp.square}
REDUCTIONS = ("mean", "sum")


def rowwise(
    a: Array | tuple[Array, ...],
    b: Array | tuple[Array, ...],
    distance: str = "l1",
    reduction: str = "mean",
) -> LogDet:
    """Distance of each row of `a` to the same row of `b`.

    Args:
      a: `[batch, ...]`, or a tuple of such arrays, taken as one long event.
      b: the same shapes.
      distance: "l1", |a - b|, or "l2", (a - b)^2.
      reduction: over the event, "mean" (per dimension, as the released code) or
        "sum" (as a log-likelihood in nats is a sum).

    Raises:
      ValueError: for other names, or shapes that differ.
    """
    if distance not in DISTANCES:
        raise ValueError(f"unknown distance {distance!r}; known: {sorted(DISTANCES)}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known: {REDUCTIONS}")
    parts_a = a if isinstance(a, tuple) else (a,)
    parts_b = b if isinstance(b, tuple) else (b,)
    shapes_a, shapes_b = [p.shape for p in parts_a], [p.shape for p in parts_b]
    if shapes_a != shapes_b:
        raise ValueError(f"student has shapes {shapes_a}, teacher {shapes_b}")
    total = jnp.zeros(parts_a[0].shape[:1], jnp.result_type(*parts_a, *parts_b))
    size = 0
    for part_a, part_b in zip(parts_a, parts_b, strict=True):
        gap = DISTANCES[distance](part_a - part_b)
        total += jnp.sum(gap.reshape(gap.shape[0], -1), axis=1)
        size += gap[0].size
    return total / size if reduction == "mean" else total
