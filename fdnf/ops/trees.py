"""Functions of parameter trees: counts, norms, runs."""

from typing import Any

import jax
import jax.numpy as jnp


def parameter_count(params: Any) -> int:
    """Number of trainable numbers in a tree of arrays (or of shapes)."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))


def take_run(tree: Any, run: int) -> Any:
    """The slice of one run from a tree whose leaves have a leading run axis."""
    return jax.tree.map(lambda leaf: leaf[run], tree)


def stack_runs(trees: list[Any]) -> Any:
    """One tree with a leading run axis from equal trees, one per run."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
