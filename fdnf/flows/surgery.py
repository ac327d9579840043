"""Tree functions on flows' variables: permutations inherited, steps left out, folds.

Nothing here trains or changes its arguments. Folding makes one layer of what training
keeps apart; its arithmetic is float64, in numpy on the host, and results have the dtype
of what they are made of. Leading axes, such as that of a stack of steps, are kept.

Reference: Baranchuk et al. (2021), sections 3.1 and 3.2 (inference of the teachers).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped
from scipy import linalg

from fdnf.bijectors import autoregressive
from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.invertible_conv import InvertibleConvPLU
from fdnf.flows.base import FlowModule
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.maf import MAF
from fdnf.flows.srflow import SRFlow
from fdnf.flows.waveglow import WaveGlow
from fdnf.nets import conv
from fdnf.ops import trees

Variables = dict[str, Any]
Folded = TypeVar("Folded", bound=FlowModule)


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


def thinned(flow: Folded, variables: Variables, steps: int) -> tuple[Folded, Variables]:
    """The flow with some of its steps alone, as a student starts that is to be smaller.

    Of a Glow, step k of the K_s that are left stands for a run of the K_t that there
    were, up to ceil(k K_t / K_s), counted from 1: it has the coupling of the last of
    them, and the linear map of all, activation norms, rotations and permutations
    included. Of a MAF, whose blocks alternate in order, it has the last block of the
    run, or the one before it, whichever has its own order.

    Args:
      flow: a Glow, a TabularGlow, a MAF or an IAF.
      variables: its variables, of one run.
      steps: how many are left, of each level.

    Returns:
      `(flow, variables)`, the flow of so many steps and its variables.

    Raises:
      ValueError: for another flow, more steps than it has, a MAF with linear maps
        between its blocks, or scales that one step cannot have.
    """
    if not isinstance(flow, Glow | TabularGlow | MAF):
        raise ValueError(
            f"{type(flow).__name__}: steps of a Glow, a TabularGlow, a MAF or an IAF "
            "can be left out"
        )
    if not 1 <= steps <= flow.steps or _is_folded(flow):
        raise ValueError(
            f"{steps} steps of the {flow.steps} of a {type(flow).__name__}: expected "
            "as many or fewer, of one that is not folded"
        )
    fewer: Any = flow.clone(steps=steps)
    if isinstance(flow, MAF):
        return fewer, _thinned_maf(flow, variables, steps)
    found = {name: dict(tree) for name, tree in variables.items()}
    for name, level in variables["params"].items():
        if isinstance(flow, Glow) and not name.startswith("stacks_"):
            continue
        drawn = variables.get("constants", {}).get(name)
        if isinstance(flow, Glow):
            level, drawn = level["parts_1"], (drawn or {}).get("parts_1")
        step, own = _thinned_steps(level["step"], (drawn or {}).get("step"), steps)
        for collection, new in (("params", step), ("constants", own)):
            if new is not None:
                tree = {"step": new}
                nested = {"parts_1": tree} if isinstance(flow, Glow) else tree
                found[collection][name] = nested
    return fewer, found


def _is_folded(flow: FlowModule) -> bool:
    """Whether the variables of a flow are those of `fold`."""
    return bool(getattr(flow, "folded", False))


def _ends(long: int, short: int) -> list[int]:
    """Of `short` runs of `long` steps, the number of the last step, from 0."""
    return [-(-(k + 1) * long // short) - 1 for k in range(short)]


def _thinned_maf(flow: MAF, variables: Variables, steps: int) -> Variables:
    if flow.mixing != "reverse" and steps < flow.steps:
        raise ValueError(
            f"a {type(flow).__name__} with mixing={flow.mixing!r}: without its block a "
            "linear map would be left that no other can take in; expected 'reverse'"
        )
    kept = [end - (end - k) % 2 for k, end in enumerate(_ends(flow.steps, steps))]
    params = variables["params"]
    stack = jax.tree.map(lambda leaf: leaf[np.asarray(kept)], params["stack"])
    return {**variables, "params": {**params, "stack": stack}}


def _thinned_steps(step: Any, drawn: Any, steps: int) -> tuple[Any, Any]:
    """Those of a level of a Glow, all leaves with a leading axis."""
    long = len(step["parts_0"]["bias"])
    ends = _ends(long, steps)
    picked = jax.tree.map(lambda leaf: leaf[np.asarray(ends)], step)
    norm, mixing = step["parts_0"], step["parts_1"]
    of_mixing = None if drawn is None else drawn["parts_1"]
    weights, _ = _rotation(mixing, of_mixing)
    scales = np.exp(_clamped(norm["raw_log_scale"], ActNorm.bound))
    merged: list[Any] = []
    for first, last in zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True):
        # W diag(s) (x + b), then the next one's, and so on.
        weight, bias = weights[first], _double(norm["bias"][first])
        for k in range(first + 1, last + 1):
            so_far = weight * scales[first]
            bias = bias + np.linalg.solve(so_far, _double(norm["bias"][k]))
            weight = weights[k] * scales[k] @ weight
        found = (weight, scales, bias)
        merged.append(_as_step(step, of_mixing, first, *found, alone=first == last))
    joined = jax.tree.map(lambda *leaves: jnp.stack(leaves), *merged)
    own = {**picked, "parts_0": joined["norm"], "parts_1": joined["mixing"]}
    if drawn is None:
        return own, None
    constants = jax.tree.map(lambda leaf: leaf[np.asarray(ends)], drawn)
    return own, {**constants, "parts_1": joined["drawn"]}


def _as_step(
    step: Any,
    drawn: Any,
    first: int,
    weight: np.ndarray,
    scales: np.ndarray,
    bias: np.ndarray,
    alone: bool,
) -> dict[str, Any]:
    """The norm and the convolution that are W diag(s) (x + b) together."""
    norm, mixing = (
        {k: v[first] for k, v in step[f"parts_{i}"].items()} for i in (0, 1)
    )
    of_mixing = {} if drawn is None else {k: v[first] for k, v in drawn.items()}
    if alone:
        return {"norm": norm, "mixing": mixing, "drawn": of_mixing}
    # The norm takes the lengths of the columns: diagonals of U have a bound.
    lengths = np.linalg.norm(weight, axis=0)
    weight = weight / lengths
    log_scale = np.log(scales[first] * lengths)
    found: dict[str, Any] = {
        "norm": {"bias": bias, "raw_log_scale": _unclamped(log_scale, ActNorm.bound)}
    }
    if "weight" in mixing:
        found |= {"mixing": {"weight": weight}, "drawn": {}}
    else:
        factors: Any = linalg.lu(weight)
        permutation, lower, upper = factors
        s = np.diagonal(upper)
        log_s = _unclamped(np.log(np.abs(s)), InvertibleConvPLU.bound)
        found["mixing"] = {
            "lower": np.tril(lower, -1),
            "upper": np.triu(upper, 1),
            "raw_log_s": log_s,
        }
        found["drawn"] = {"permutation": permutation > 0, "sign": s > 0}
    like = {"norm": norm, "mixing": mixing, "drawn": of_mixing}
    return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), found, like)


def _unclamped(value: np.ndarray, bound: float) -> np.ndarray:
    """What `_clamped` makes `value` of.

    Raises:
      ValueError: for what a bounded scale cannot be.
    """
    if (most := np.abs(value).max()) > 0.999 * bound:
        given = f"steps that are left out have a scale of e^{most:.3g} together"
        raise ValueError(f"{given}, beyond the e^{bound:g} of one step: keep more")
    return bound * np.arctanh(value / bound)


def fold(flow: Folded, variables: Variables) -> tuple[Folded, Variables]:
    """The same map with fewer operations, for sampling and evaluation.

    Activation norms before a 1x1 convolution become part of it, its inverse and its
    log-determinant are computed once, and the norms within the networks of a Glow or an
    SRFlow become part of their kernels and biases. A WaveGlow has neither kind of norm,
    and no weight normalisation to remove. The kernels of a MAF or an IAF are masked
    once, and not in each call.

    Args:
      flow: a Glow, an SRFlow, a WaveGlow, a MAF or an IAF.
      variables: its variables, of one run.

    Returns:
      `(flow, variables)`: the folded flow and its variables. They compute what the
      originals do, up to rounding; they are not for training.

    Raises:
      ValueError: for another flow, or one that is folded already.
    """
    own = [folded for kind, folded in _FOLDS.items() if isinstance(flow, kind)]
    if not own:
        kinds = ", ".join(kind.__name__ for kind in _FOLDS)
        raise ValueError(f"{type(flow).__name__} cannot be folded: expected {kinds}")
    if _is_folded(flow):
        raise ValueError(f"this {type(flow).__name__} is folded already")
    return flow.clone(folded=True), own[0](variables)


def _glow(variables: Variables) -> Variables:
    params, constants = variables["params"], variables.get("constants", {})
    folded = {}
    for name, level in params.items():
        if not name.startswith("stacks_"):
            folded[name] = level
            continue
        steps = level["parts_1"]["step"]
        drawn = constants.get(name, {}).get("parts_1", {}).get("step", {})
        mixing = _linear(steps["parts_1"], steps["parts_0"], drawn.get("parts_1"))
        net = _net(steps["parts_2"]["conditioner"])
        step = {"parts_0": mixing, "parts_1": {"conditioner": net}}
        folded[name] = {"parts_1": {"step": step}}
    return {"params": folded}


def _srflow(variables: Variables) -> Variables:
    folded = dict(variables["params"])
    for name in folded:
        if name.startswith("stacks_"):
            level = dict(folded[name])
            # The opening steps are unconditional, and may be absent.
            for part, steps in level.items():
                level[part] = {"step": _srflow_step(steps["step"])}
            folded[name] = level
    return {"params": folded}


def _srflow_step(step: Any) -> dict[str, Any]:
    """Of a stack of steps, all leaves with a leading axis."""
    folded: dict[str, Any] = {"parts_0": _linear(step["parts_1"], step["parts_0"])}
    if "parts_2" in step:
        for i in (1, 2):
            net = step[f"parts_{i + 1}"]["conditioner"]
            folded[f"parts_{i}"] = {"conditioner": _net(net)}
    return folded


def _waveglow(variables: Variables) -> Variables:
    def stage(part):
        step = {**part["step"], "parts_0": _linear(part["step"]["parts_0"])}
        return {**part, "step": step}

    params = {
        name: stage(part) if name.startswith("stages_") else part
        for name, part in variables["params"].items()
    }
    return {**variables, "params": params}


def _maf(variables: Variables) -> Variables:
    step = dict(variables["params"]["stack"]["step"])
    for name, part in step.items():
        if "made" in (bijector := part.get("bijector", part)):
            made = {"made": _masked(bijector["made"])}
            step[name] = {**part, "bijector": made} if "bijector" in part else made
    stack = {f"apart_{i}": own for i, own in enumerate(trees.unstacked(step))}
    return {**variables, "params": {**variables["params"], "stack": stack}}


def _masked(made: Any) -> dict[str, Any]:
    """Parameters of a MADE, those of all blocks at once, whose kernels are masked."""
    kernels = [made[f"dense_{i}_kernel"] for i in range(_count(made))]
    dim = kernels[0].shape[-2]
    masks = autoregressive.masks(
        dim,
        [kernel.shape[-1] for kernel in kernels[:-1]],
        kernels[-1].shape[-1] // dim,
        conditional="context_kernel" in made,
    )
    return {
        **made,
        **{
            f"dense_{i}_kernel": kernel * jnp.asarray(mask, kernel.dtype)
            for i, (kernel, mask) in enumerate(zip(kernels, masks, strict=True))
        },
    }


def _count(made: Any) -> int:
    return sum(name.startswith("dense_") and name.endswith("_kernel") for name in made)


_FOLDS: dict[type, Callable[[Variables], Variables]] = {
    Glow: _glow,
    SRFlow: _srflow,
    WaveGlow: _waveglow,
    MAF: _maf,
}


def _linear(mixing: Any, norm: Any = None, drawn: Any = None) -> dict[str, Array]:
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


def _net(params: Any) -> dict[str, Any]:
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
