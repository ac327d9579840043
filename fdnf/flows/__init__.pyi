from .affine import Affine as Affine
from .as_distrax import (
    as_bijector as as_bijector,
    as_distribution as as_distribution,
    from_distrax as from_distrax,
)
from .base import FlowModule as FlowModule
from .continuous import ContinuousFlow as ContinuousFlow
from .flowjax_flows import from_flowjax as from_flowjax
from .glow import Glow as Glow, TabularGlow as TabularGlow
from .iresnet import IResNet as IResNet, MultiScaleIResNet as MultiScaleIResNet
from .maf import IAF as IAF, MAF as MAF
from .mintnet import MintNet as MintNet
from .nice import NICE as NICE
from .pixelcnn import PixelCNN as PixelCNN, PixelIAF as PixelIAF
from .refined import (
    Refined as Refined,
    Round as Round,
    Through as Through,
    decode_through as decode_through,
    defect_round as defect_round,
    refine as refine,
    refined_sample as refined_sample,
)
from .realnvp import MultiScaleRealNVP as MultiScaleRealNVP, RealNVP as RealNVP
from .srflow import SRFlow as SRFlow
from .tarflow import TarFlow as TarFlow, TarIAF as TarIAF
from .waveglow import WaveGlow as WaveGlow
from .wavenet import GaussianWaveNet as GaussianWaveNet, WaveIAF as WaveIAF
