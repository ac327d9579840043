"""Tree functions on Glow's variables: permutations inherited, layers folded.

Nothing here trains or changes its arguments.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.flows.glow import Glow
from fdnf.nets import conv
from fdnf.ops import scales

# Bounds of the soft clamps whose values are folded.
_ACTNORM_BOUND = 12.0
_LOG_S_BOUND = 5.0

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
    permutations: Float[Array, "long channels channels"], steps: int
) -> Float[Array, "short channels channels"]:
    """Products of runs of permutations, the first step applied first."""
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
        linear = jax.vmap(_fold_linear)(
            steps["parts_0"], steps["parts_1"], drawn.get("parts_1", {})
        )
        net = jax.vmap(_fold_net)(steps["parts_2"]["conditioner"])
        step = {"parts_0": linear, "parts_1": {"conditioner": net}}
        folded[name] = {"parts_1": {"step": step}}
    return flow.clone(folded=True), {"params": folded}


def _fold_linear(norm: Any, mixing: Any, drawn: Any) -> dict[str, Array]:
    """W diag(s) (x + b): weight W diag(s), bias W diag(s) b."""
    log_scale = scales.soft_clamp(norm["raw_log_scale"], _ACTNORM_BOUND)
    channels = log_scale.shape[0]
    eye = jnp.eye(channels, dtype=log_scale.dtype)
    if "weight" in mixing:
        rotation = mixing["weight"]
        log_det = jnp.linalg.slogdet(rotation)[1]
    else:
        log_s = scales.soft_clamp(mixing["raw_log_s"], _LOG_S_BOUND)
        lower = jnp.tril(mixing["lower"], -1) + eye
        upper = jnp.triu(mixing["upper"], 1) + jnp.diag(drawn["sign"] * jnp.exp(log_s))
        rotation = drawn["permutation"] @ lower @ upper
        log_det = jnp.sum(log_s)
    weight = rotation * jnp.exp(log_scale)
    inverse = jnp.linalg.inv(weight)
    # One Newton step brings back digits of an ill-conditioned inverse.
    inverse = inverse @ (2 * eye - weight @ inverse)
    return {
        "weight": weight,
        "inverse": inverse,
        "bias": weight @ norm["bias"],
        "log_det": log_det + jnp.sum(log_scale),
    }


def _fold_net(net: Any) -> dict[str, Any]:
    folded = dict(net)
    for name in ("conv_in", "conv_mid"):
        folded[name] = _scaled(net[name], net[name])
    if "context" in net:
        # Added between the first convolution and its norm.
        folded["context"] = _scaled(net["context"], net["conv_in"])
    return folded


def _scaled(layer: Any, norm: Any) -> dict[str, Array]:
    """Kernel and bias of `layer` times the scale of `norm`."""
    scale = jnp.exp(scales.soft_clamp(norm["raw_log_scale"], conv.BOUND))
    return {"kernel": layer["kernel"] * scale, "bias": layer["bias"] * scale}
