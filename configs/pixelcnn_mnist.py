"""PixelCNN++ with Gaussian conditionals on MNIST.

python -m fdnf.main --config=configs/pixelcnn_mnist.py:small --workdir=runs/pixelcnn

Without `small` it is the paper's teacher: 84,400 steps, for a GPU. Bits/dim of `small`
(14x14, 88,018 weights) after 1,000 steps (--config.train.steps=1000), seed 0, with the
standard error over images: validation 3.286 +- 0.015, test 3.254 +- 0.010. Compares
with nothing published.
"""

from configs import pixelcnn

RESNET = {"hidden": 64, "blocks": 8, "squeezes": 1}


def get_config(arg: str = ""):
    return pixelcnn.images("mnist", arg, steps=84_400, resnet=RESNET)
