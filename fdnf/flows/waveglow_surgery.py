"""WaveGlow's 1x1 convolutions inverted once, for sampling."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.flows.waveglow import WaveGlow

Variables = dict[str, Any]


def fold(flow: WaveGlow, variables: Variables) -> tuple[WaveGlow, Variables]:
    """The same map with the inverses of its 1x1 convolutions at hand.

    They and the log-determinants are computed on the host in float64. There is no
    weight normalisation to remove.

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
    weight = np.asarray(jax.device_get(step["parts_0"]["weight"]))
    wide = weight.astype(np.float64)
    linear = {
        "weight": weight,
        "inverse": np.linalg.inv(wide),
        "bias": np.zeros(weight.shape[:-1]),
        "log_det": np.linalg.slogdet(wide)[1],
    }
    linear = {k: jnp.asarray(v, weight.dtype) for k, v in linear.items()}
    return {**stage, "step": {**step, "parts_0": linear}}
