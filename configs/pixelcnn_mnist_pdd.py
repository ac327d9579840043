"""Parallel students of a PixelCNN on MNIST.

python -m fdnf.main --config=configs/pixelcnn_mnist_pdd.py:x \
    --workdir=runs/pixelcnn_mnist_pdd
"""

from configs import pdd, pixelcnn_mnist

RESNET = {"hidden": 64, "blocks": 8, "squeezes": 1}


def get_config(arg: str = ""):
    return pdd.images(pixelcnn_mnist.get_config, arg, resnet=RESNET)
