"""WaveGlow's 1x1 convolutions inverted once, for sampling."""

from typing import Any

from fdnf.flows import folding
from fdnf.flows.waveglow import WaveGlow

Variables = dict[str, Any]


def fold(flow: WaveGlow, variables: Variables) -> tuple[WaveGlow, Variables]:
    """The same map with the inverses of its 1x1 convolutions at hand.

    There is no weight normalisation to remove.

    Args:
      flow: a WaveGlow.
      variables: its variables.

    Returns:
      `(flow, variables)`: the folded WaveGlow and its variables. They compute what
      the originals do, up to rounding; they are not for training.

    Raises:
      ValueError: if the flow is folded already.

    Reference: Baranchuk et al. (2021), section 3.2 ("precompute inversions").
    """
    if flow.folded:
        raise ValueError("this WaveGlow is folded already")
    params = {
        name: _fold_stage(part) if name.startswith("stages_") else part
        for name, part in variables["params"].items()
    }
    return flow.clone(folded=True), {**variables, "params": params}


def _fold_stage(stage: Variables) -> Variables:
    step = stage["step"]
    linear = folding.linear(step["parts_0"])
    return {**stage, "step": {**step, "parts_0": linear}}
