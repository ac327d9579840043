"""Functions of parameter trees: counts and runs."""

from typing import Any

import jax


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
