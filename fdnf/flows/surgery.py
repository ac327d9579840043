"""Tree functions on Glow's variables: permutations inherited, layers folded.

Nothing here trains or changes its arguments.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from fdnf.flows import folding
from fdnf.flows.glow import Glow

Variables = dict[str, Any]


def inherit_permutations(student: Variables, teacher: Variables) -> Variables:
    """The student's variables with the teacher's channel permutations.

    Each step of a student level stands for a run of teacher steps: its P, which is
    drawn once and never trained, becomes the product of theirs. L, U and the signs
    stay as they are, so W = P L U starts as another rotation. Step k of K_s stands for
    the teacher's steps up to ceil(k K_t / K_s), counted from 1.

    Args:
      student: of a Glow in PLU form.
      teacher: of another with as many levels and channels, and at least as many steps.

    Returns:
      A new tree; only `constants` differ.

    Raises:
      ValueError: if the two have no permutations that fit.

    Reference: Walton et al. (2023), released code, where it is switched off.
    """
    mine, theirs = _permutations(student), _permutations(teacher)
    if mine.keys() != theirs.keys() or not mine:
        raise ValueError(
            f"student has permutations in {sorted(mine)}, teacher in {sorted(theirs)}: "
            "expected two Glows in PLU form (plu=True) of equally many levels"
        )
    composed = {}
    for path, own in mine.items():
        source = theirs[path]
        if own.shape[1:] != source.shape[1:] or len(own) > len(source):
            raise ValueError(
                f"{path}: student has {own.shape}, teacher {source.shape}: expected "
                "equal channels and at most as many steps"
            )
        composed[path] = _composed(source, len(own)).astype(own.dtype)
    leaves, structure = jax.tree_util.tree_flatten_with_path(student)
    return jax.tree_util.tree_unflatten(
        structure,
        [composed.get(jax.tree_util.keystr(path), leaf) for path, leaf in leaves],
    )


def _permutations(variables: Variables) -> dict[str, Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(variables)
    named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    found = {k: v for k, v in named.items() if k.endswith("['permutation']")}
    return {k: jnp.asarray(v) for k, v in found.items()}


def _composed(
    permutations: Shaped[Array, "long channels channels"], steps: int
) -> Int[Array, "short channels channels"]:
    """Products of runs of permutations, the first step applied first."""
    permutations = jnp.asarray(permutations > 0, jnp.int32)
    ends = [-(-(k + 1) * len(permutations) // steps) for k in range(steps)]
    found = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        product = permutations[start]
        for p in permutations[start + 1 : end]:
            product = p @ product
        found.append(product)
    return jnp.stack(found)


def fold(flow: Glow, variables: Variables) -> tuple[Glow, Variables]:
    """The same map with fewer operations, for sampling and evaluation.

    Activation norms before a 1x1 convolution become part of it, its inverse and its
    log-determinant are computed once, and the norms within the coupling networks
    become part of their kernels and biases.

    Args:
      flow: a Glow.
      variables: its variables.

    Returns:
      `(flow, variables)`: the folded Glow and its variables. They compute what the
      originals do, up to rounding; they are not for training.

    Raises:
      ValueError: if the flow is folded already.
    """
    if flow.folded:
        raise ValueError("this Glow is folded already")
    params, constants = variables["params"], variables.get("constants", {})
    folded = {}
    for name, level in params.items():
        if not name.startswith("stacks_"):
            folded[name] = level
            continue
        steps = level["parts_1"]["step"]
        drawn = constants.get(name, {}).get("parts_1", {}).get("step", {})
        linear = folding.linear(
            steps["parts_1"], steps["parts_0"], drawn.get("parts_1")
        )
        net = folding.net(steps["parts_2"]["conditioner"])
        step = {"parts_0": linear, "parts_1": {"conditioner": net}}
        folded[name] = {"parts_1": {"step": step}}
    return flow.clone(folded=True), {"params": folded}
