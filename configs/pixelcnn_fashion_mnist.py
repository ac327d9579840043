"""PixelCNN++ with Gaussian conditionals on Fashion-MNIST.

python -m fdnf.main --config=configs/pixelcnn_fashion_mnist.py:small \
    --workdir=runs/pixelcnn_fashion_mnist

Without `small` it is the paper's teacher: 84,400 steps, for a GPU.
"""

from configs import pixelcnn

RESNET = {"hidden": 64, "blocks": 8, "squeezes": 1}


def get_config(arg: str = ""):
    return pixelcnn.images("fashion_mnist", arg, steps=84_400, resnet=RESNET)
