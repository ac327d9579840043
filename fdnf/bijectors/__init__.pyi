from .actnorm import (
    ActNorm as ActNorm,
    Elementwise as Elementwise,
    Scaling as Scaling,
)
from .autoregressive import MADE as MADE, MaskedAutoregressive as MaskedAutoregressive
from .base import Bijector as Bijector
from .combinators import (
    Chain as Chain,
    Invert as Invert,
    Repeat as Repeat,
    Reverse as Reverse,
    Shuffle as Shuffle,
    Squeeze as Squeeze,
)
from .coupling import (
    AffineInjector as AffineInjector,
    Coupling as Coupling,
    WaveCoupling as WaveCoupling,
)
from .invertible_conv import (
    FoldedConv as FoldedConv,
    InvertibleConv as InvertibleConv,
    InvertibleConvPLU as InvertibleConvPLU,
    LinearLU as LinearLU,
    RotationConv as RotationConv,
)
from .linear_prediction import LinearPrediction as LinearPrediction
from .masked_conv import MaskedConv as MaskedConv
from .pixel_affine import PixelAffine as PixelAffine
from .pixel_passes import PixelPasses as PixelPasses
from .residual import Residual as Residual
from .token_autoregressive import (
    ReverseTokens as ReverseTokens,
    TokenAutoregressive as TokenAutoregressive,
)
from .transformers import (
    Additive as Additive,
    Compose as Compose,
    Affine as Affine,
    Inverse as Inverse,
    RationalQuadratic as RationalQuadratic,
    Transformer as Transformer,
)
from .wave_affine import WaveAffine as WaveAffine
