"""PixelCNN++ with Gaussian conditionals on images, and its students.

Settings of Huang et al. (2019), section 4.1.2: 100 epochs in batches of 64, Adam at
5e-4 times 0.95 an epoch, 3 blocks a stage, 32 channels, one Gaussian a sub-pixel, data
with uniform noise through a logit whose margin they do not give. Here the margin is
0.05, and the learning rate falls by a cosine to 1 % instead of to 0.95^100 = 0.6 %.
Their students have the teacher's network, run the other way round; those with `passes`
have it three times in a row, and start with the teacher's weights; what each of the
three makes is compared with the sample.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import common, teaching

PAPER = {"features": 32, "blocks": 3, "stages": 3}
SMALL = {"features": 16, "blocks": 1, "stages": 2}
PASSES = 3
WORDS = (
    common.Choice(("teacher", "student", "iaf", "resnet")),
    teaching.IAF,
    common.Choice(("l1", "l2", "mixed"), ("resnet",)),
    common.Choice(("noise",), ("resnet",)),
    common.Choice(("passes",), ("iaf",)),
    common.Choice(("conditional",)),
    common.SMOKE,
)


def images(
    data: str,
    arg: str,
    steps: int,
    resnet: Mapping[str, Any],
    keys: Mapping[str, Any] | None = None,
    channels: int = 1,
    side: int = 28,
) -> ConfigDict:
    """The paper's teacher, or one for two CPU cores, and its students.

    Args:
      data: name of the data set.
      arg: teacher or student, which have the same network; iaf, with a method of
        `teaching.TRANSFERS`, and passes; resnet, with l1, l2 or mixed, and noise;
        conditional, on the class; smoke; where `side` is 28 small: a network with one
        block a stage on images of 14x14, each grey level the mean of four.
      steps: of the training; the paper's are a hundred epochs.
      resnet: attributes of the feed-forward student.
      keys: of the config, where it is not smoke.
      channels: of the images.
      side: of the images, in pixels.
    """
    small = (common.Choice(("small",)),) if side == 28 else ()
    words = common.parse_arg(arg, (*WORDS, *small))

    def make(role: str) -> ConfigDict:
        config = common.images()
        config.data.name = data
        config.data.logit = 0.05
        config.data.conditional = "conditional" in words
        config.model.name = "pixelcnn"
        config.role = role
        config.model.args = ConfigDict(PAPER)
        config.optim.update(lr=5e-4, warmup=0.01)
        config.train.update(steps=steps, eval_every=1000)
        config.eval.extractors = ("classifier",) if channels == 1 else ("vgg16",)
        if "small" in words:
            config.data.args = ConfigDict({"size": 14})
            config.model.args = ConfigDict(SMALL)
            config.optim.update(lr=2e-3, ema=0.99)
            config.train.update(steps=1500, eval_every=250)
        if "smoke" in words:
            return smoke(config, channels)
        return common.set_keys(config, keys or {})

    if {"iaf", "resnet"} & words:
        passes = PASSES if "passes" in words else 1
        return teaching.parallel_images(
            make("student"), make("teacher"), words, resnet, passes
        )
    return make("student" if "student" in words else "teacher")


def smoke(config: ConfigDict, channels: int = 1) -> ConfigDict:
    """`common.smoke_images` with a network of two channels."""
    config = common.smoke_images(config, channels)
    config.data.conditional = False
    config.model.args = ConfigDict({"features": 2, "blocks": 1, "stages": 2})
    return config
