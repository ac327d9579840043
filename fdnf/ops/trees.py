"""Functions of parameter trees: counts, and the slices along a leading axis."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def parameter_count(params: Any) -> int:
    """Number of trainable numbers in a tree of arrays (or of shapes)."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))


def split_variables(variables: Any) -> tuple[Any, Any]:
    """`(params, constants)`: what is trained, and what was drawn once and is not.

    To differentiate and to optimise, take `params` alone. Some constants are booleans,
    for which JAX has no gradient, and an optimizer with weight decay would move others
    (the upsampler that a student of WaveGlow takes from its teacher). The inverse is
    `{"params": params, "constants": constants}`, which `apply` and all losses take:

        params, constants = split_variables(flow.init(key, x))

        def objective(params):
            return nll(flow, {"params": params, "constants": constants}, x)[0]

        slope = jax.grad(objective)(params)

    Args:
      variables: of a flow or student; a flow without constants gives an empty dict.
    """
    return variables["params"], variables.get("constants", {})


def take_run(tree: Any, run: int) -> Any:
    """The slice of one run from a tree whose leaves have a leading run axis."""
    return jax.tree.map(lambda leaf: leaf[run], tree)


def unstacked(tree: Any) -> list[Any]:
    """The slices of a tree whose leaves have a leading axis, all equally long."""
    count = jax.tree.leaves(tree)[0].shape[0]
    return [take_run(tree, i) for i in range(count)]


def stacked(trees: Sequence[Any]) -> Any:
    """Trees of equal structure as one, whose leaves have a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
