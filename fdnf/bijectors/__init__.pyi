from .actnorm import ActNorm as ActNorm, Scaling as Scaling
from .affine_injector import AffineInjector as AffineInjector
from .autoregressive import MaskedAffine as MaskedAffine
from .base import Bijector as Bijector
from .combinators import Chain as Chain, Invert as Invert, Repeat as Repeat
from .coupling import Coupling as Coupling
from .folded_conv import FoldedConv as FoldedConv
from .invertible_conv import (
    InvertibleConv as InvertibleConv,
    InvertibleConvPLU as InvertibleConvPLU,
)
from .masked_conv import MaskedConv as MaskedConv, MaskedConvStack as MaskedConvStack
from .permutation import Reverse as Reverse, Shuffle as Shuffle
from .pixel_affine import PixelAffine as PixelAffine
from .rotation import RotationConv as RotationConv
from .squeeze import Squeeze as Squeeze
from .wave_coupling import WaveCoupling as WaveCoupling
