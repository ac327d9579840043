from . import (
    feed_forward as feed_forward,
    flow_matching as flow_matching,
    gaussian_conditionals as gaussian_conditionals,
    guided as guided,
    levels as levels,
)
from .density import density_slope as density_slope, reverse_kl as reverse_kl
from .distillation import (
    combined as combined,
    ilkd as ilkd,
    lkd as lkd,
    mean_of as mean_of,
    nll as nll,
    skd as skd,
)
from .expansion import expansion_signal as expansion_signal
from .feed_forward import LpipsFeature as LpipsFeature, StftFeature as StftFeature
from .gaussian_conditionals import clarinet as clarinet
from .inverse_matching import (
    oracle as oracle,
    x_reconstruction as x_reconstruction,
    z_reconstruction as z_reconstruction,
)
from .presets import preset as preset
from .spectra import multi_resolution_stft as multi_resolution_stft, power as power
