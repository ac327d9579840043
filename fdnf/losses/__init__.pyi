from . import (
    density_slope as density_slope,
    feed_forward as feed_forward,
    gaussian_conditionals as gaussian_conditionals,
    power as power,
)
from .density import reverse_kl as reverse_kl
from .distillation import combined as combined, ilkd as ilkd, lkd as lkd, skd as skd
from .expansion import expansion_signal as expansion_signal
from .feed_forward import LpipsFeature as LpipsFeature, StftFeature as StftFeature
from .inverse_matching import (
    oracle as oracle,
    x_reconstruction as x_reconstruction,
    z_reconstruction as z_reconstruction,
)
from .likelihood import nll as nll
from .presets import preset as preset
from .stft import multi_resolution_stft as multi_resolution_stft
