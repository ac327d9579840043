"""Names in configs to flows."""

import dataclasses
from typing import Any

from fdnf.flows.base import FlowModule
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import MultiScaleRealNVP, RealNVP

FLOWS: dict[str, type[FlowModule]] = {
    "glow": Glow,
    "glow_tabular": TabularGlow,
    "maf": MAF,
    "iaf": IAF,
    "nice": NICE,
    "realnvp": RealNVP,
    "realnvp_multiscale": MultiScaleRealNVP,
}


def build(config: Any) -> FlowModule:
    """The flow that `config.name` and `config.args` describe.

    Args:
      config: the `model` section: `name`, a key of FLOWS, and `args`, whose keys are
        the flow's attributes, with the same names and no translation.

    Raises:
      ValueError: for an unknown name or attribute, with the known ones.
    """
    if config.name not in FLOWS:
        raise ValueError(f"unknown model.name {config.name!r}; known: {sorted(FLOWS)}")
    flow = FLOWS[config.name]
    known = {f.name for f in dataclasses.fields(flow)} - {"parent", "name"}
    args = dict(config.args)
    unknown = sorted(set(args) - known)
    if unknown:
        raise ValueError(
            f"model.args has {unknown}, which {flow.__name__} does not know; "
            f"it knows {sorted(known)}"
        )
    # JSON, from which saved configs are read back, has lists where hashable
    # attributes need tuples.
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in args.items()
    }
    return flow(**given)
