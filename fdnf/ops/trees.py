"""Functions of parameter trees: counts and runs."""

from typing import Any

import jax


def parameter_count(params: Any) -> int:
    """Number of trainable numbers in a tree of arrays (or of shapes)."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))


def take_run(tree: Any, run: int) -> Any:
    """The slice of one run from a tree whose leaves have a leading run axis."""
    return jax.tree.map(lambda leaf: leaf[run], tree)
