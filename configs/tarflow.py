"""TarFlow, a transformer autoregressive flow, on images, and its students.

Zhai et al. (2024) train 8 blocks of 8 layers of 768 channels on ImageNet for days of
many GPUs; these are of the size of this package's other flows on small images. Images
have uniform noise and pass a logit with a margin of 0.05, as for PixelCNN. Students by
`iaf` have the teacher's blocks, run the other way round.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import common, teaching

SIZE = {"blocks": 4, "layers": 2, "channels": 60, "heads": 4, "patch": 2}
WORDS = (
    common.Choice(("teacher", "student", "iaf")),
    teaching.GUIDED_IAF,
    common.Choice(("conditional",)),
    common.SMOKE,
)


def images(
    data: str,
    arg: str,
    steps: int,
    keys: Mapping[str, Any] | None = None,
    channels: int = 1,
) -> ConfigDict:
    """A teacher for two CPU cores, and its students.

    Args:
      data: name of the data set.
      arg: teacher or student, which have the same network; iaf, with a method of
        `teaching.GUIDED_IAF`; conditional, on the class; smoke.
      steps: of the training.
      keys: of the config, where it is not smoke.
      channels: of the images.
    """
    words = common.parse_arg(arg, WORDS)

    def make(role: str) -> ConfigDict:
        config = common.images()
        config.data.name = data
        config.data.logit = 0.05
        config.data.conditional = "conditional" in words
        config.model.name = "tarflow"
        config.role = role
        config.model.args = ConfigDict(SIZE)
        config.optim.update(lr=1e-3, ema=0.99)
        config.train.update(steps=steps, eval_every=500)
        config.eval.extractors = ("classifier",) if channels == 1 else ("vgg16",)
        if "smoke" in words:
            return smoke(config, channels)
        return common.set_keys(config, keys or {})

    if "iaf" in words:
        return teaching.parallel_images(
            make("student"), make("teacher"), words, None, blocks="tarflow_iaf"
        )
    return make("student" if "student" in words else "teacher")


def smoke(config: ConfigDict, channels: int = 1) -> ConfigDict:
    """`common.smoke_images` with two blocks of one layer of four channels."""
    config = common.smoke_images(config, channels)
    config.data.conditional = False
    config.model.args = ConfigDict(SIZE | {"blocks": 2, "layers": 1})
    config.model.args.update(channels=4, heads=2)
    return config
