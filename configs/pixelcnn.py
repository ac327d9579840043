"""PixelCNN++ with Gaussian conditionals on images, as `pixelcnn_*.py`.

Settings of Huang et al. (2019), section 4.1.2: 100 epochs in batches of 64, Adam at
5e-4 times 0.95 an epoch, 3 blocks a stage, 32 channels, one Gaussian a sub-pixel, data
with uniform noise through a logit whose margin they do not give. Here the margin is
0.05, and the learning rate falls by a cosine to 1 % instead of to 0.95^100 = 0.6 %.
Their students have the teacher's network, run the other way round.
"""

from ml_collections import ConfigDict

from configs import common

PAPER = {"features": 32, "blocks": 3, "stages": 3}
SMALL = {"features": 16, "blocks": 1, "stages": 2}


def images(data: str, arg: str, steps: int, channels: int = 1) -> ConfigDict:
    """The paper's teacher, or one for two CPU cores.

    Args:
      data: name of the data set.
      arg: teacher or student, which have the same network; small, for grey images of
        28x28: a network with one block a stage on images of 14x14, each grey level
        the mean of four; conditional, on the class; smoke.
      steps: a hundred epochs.
      channels: of the images.
    """
    known = ("teacher", "student", "smoke", "conditional")
    words = common.parse_arg(arg, known + (("small",) if channels == 1 else ()))
    config = common.images()
    config.data.name = data
    config.data.logit = 0.05
    config.data.conditional = "conditional" in words
    config.model.name = "pixelcnn"
    config.role = "student" if "student" in words else "teacher"
    config.model.args = ConfigDict(PAPER)
    config.optim.update(lr=5e-4, warmup=0.01)
    config.train.update(steps=steps, eval_every=1000)
    config.eval.extractors = ("classifier",) if channels == 1 else ("vgg16",)
    if "small" in words:
        config.data.args = ConfigDict({"size": 14})
        config.model.args = ConfigDict(SMALL)
        config.optim.update(lr=2e-3, ema=0.99)
        config.train.update(steps=1500, eval_every=250)
    return smoke(config, channels) if "smoke" in words else config


def smoke(config: ConfigDict, channels: int = 1) -> ConfigDict:
    """`common.smoke_images` with a network of two channels."""
    config = common.smoke_images(config, channels)
    config.data.conditional = False
    config.model.args = ConfigDict({"features": 2, "blocks": 1, "stages": 2})
    return config
