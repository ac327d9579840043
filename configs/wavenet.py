"""WaveNet with Gaussian samples, the teacher of parallel vocoders.

Sizes of ClariNet (Ping et al., 2018): two cycles of ten layers of 128 channels, kernel
2, and the schedule of its open implementation: Adam at 1e-3, halved every 200,000
steps. `small` is for two CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

WORDS = (common.Choice(("teacher",)), common.SMOKE)
# It sees 542 samples, 68 ms at 8,000 a second; the published one 2,078.
SMALL: dict[str, Any] = {"layers": 8, "cycles": 2, "channels": 48, "features": 16}
SMOKE = {
    "layers": 2,
    "cycles": 1,
    "channels": 4,
    "front": 4,
    "hop": 64,
    "upsampler_taps": 128,
    "features": 4,
}


def speech(data: str, arg: str = "", telephone: bool = False) -> ConfigDict:
    """The autoregressive teacher.

    Args:
      data: name of the data set.
      arg: teacher; small (for two CPU cores); smoke.
      telephone: whether speech has 8,000 samples a second, whose models are small.
    """
    small = () if telephone else (common.Choice(("small",)),)
    words = common.parse_arg(arg, (*WORDS, *small))
    words |= {"small"} if telephone else set()
    config = common.speech()
    config.group = ("vocoders",)
    config.data.name = data
    config.model.name = "gaussian_wavenet"
    config.optim.b2 = 0.999
    if "smoke" in words:
        config.model.args = ConfigDict(SMOKE)
        return common.smoke_speech(config)
    if "small" not in words:
        config.model.args = ConfigDict({})
        config.optim.update(lr=1e-3, schedule="halved", warmup=0.0, clip=10.0)
        config.optim.milestones = (0.25, 0.5, 0.75)
        config.train.update(steps=800_000, batch_size=8, eval_every=5000)
        return config
    config.model.args = ConfigDict(SMALL)
    if telephone:
        config.model.args.update(common.TELEPHONE)
        common.telephone(config)
    config.data.args.segment = 4096
    config.optim.update(lr=2e-3, clip=1.0, ema=0.999)
    config.train.update(steps=8000, batch_size=4, steps_per_call=20)
    return config
