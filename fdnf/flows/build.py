"""Names in configs to flows."""

from typing import Any

from fdnf.flows.affine import Affine
from fdnf.flows.base import FlowModule
from fdnf.flows.continuous import ContinuousFlow
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.iresnet import IResNet, MultiScaleIResNet
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.mintnet import MintNet
from fdnf.flows.nice import NICE
from fdnf.flows.pixelcnn import PixelCNN, PixelIAF
from fdnf.flows.realnvp import MultiScaleRealNVP, RealNVP
from fdnf.flows.srflow import SRFlow
from fdnf.flows.tarflow import TarFlow, TarIAF
from fdnf.flows.waveglow import WaveGlow
from fdnf.flows.wavenet import GaussianWaveNet, WaveIAF
from fdnf.ops import entering

FLOWS: dict[str, type[FlowModule]] = {
    "affine": Affine,
    "continuous": ContinuousFlow,
    "glow": Glow,
    "glow_tabular": TabularGlow,
    "maf": MAF,
    "iaf": IAF,
    "iresnet": IResNet,
    "iresnet_multiscale": MultiScaleIResNet,
    "mintnet": MintNet,
    "nice": NICE,
    "pixelcnn": PixelCNN,
    "pixelcnn_iaf": PixelIAF,
    "realnvp": RealNVP,
    "realnvp_multiscale": MultiScaleRealNVP,
    "srflow": SRFlow,
    "tarflow": TarFlow,
    "tarflow_iaf": TarIAF,
    "waveglow": WaveGlow,
    "gaussian_wavenet": GaussianWaveNet,
    "wavenet_iaf": WaveIAF,
}


def build(config: Any) -> FlowModule:
    """The flow that `config.name` and `config.args` describe.

    Args:
      config: the `model` section: `name`, a key of FLOWS, and `args`, whose keys are
        the flow's attributes, with the same names and no translation.

    Raises:
      ValueError: for an unknown name or attribute, with the known ones.
    """
    return entering.build(FLOWS, config)
