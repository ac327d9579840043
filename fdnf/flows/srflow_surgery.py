"""SRFlow's layers folded for sampling."""

from typing import Any

from fdnf.flows import folding
from fdnf.flows.srflow import SRFlow

Variables = dict[str, Any]


def fold(flow: SRFlow, variables: Variables) -> tuple[SRFlow, Variables]:
    """The same map with fewer operations, for sampling and evaluation.

    Activation norms before a 1x1 convolution become part of it, its inverse and its
    log-determinant are computed once, and the norms within the networks become part
    of their kernels and biases.

    Args:
      flow: an SRFlow.
      variables: its variables, of one run.

    Returns:
      `(flow, variables)`: the folded SRFlow and its variables. They compute what the
      originals do, up to rounding; they are not for training.

    Raises:
      ValueError: if the flow is folded already.

    Reference: Baranchuk et al. (2021), section 3.1 (inference of the teacher).
    """
    if flow.folded:
        raise ValueError("this SRFlow is folded already")
    folded = dict(variables["params"])
    for name in folded:
        if name.startswith("stacks_"):
            level = dict(folded[name])
            # The opening steps are unconditional, and may be absent.
            for part, steps in level.items():
                level[part] = {"step": _fold_step(steps["step"])}
            folded[name] = level
    return flow.clone(folded=True), {"params": folded}


def _fold_step(step: Any) -> dict[str, Any]:
    """Of a stack of steps, all leaves with a leading axis."""
    folded: dict[str, Any] = {
        "parts_0": folding.linear(step["parts_1"], step["parts_0"])
    }
    if "parts_2" in step:
        for i in (1, 2):
            net = step[f"parts_{i + 1}"]["conditioner"]
            folded[f"parts_{i}"] = {"conditioner": folding.net(net)}
    return folded
