"""Parallel students of a PixelCNN on CIFAR-10.

python -m fdnf.main --config=configs/pixelcnn_cifar10_pdd.py:x \
    --workdir=runs/pixelcnn_cifar10_pdd
"""

from configs import pdd, pixelcnn_cifar10

RESNET = {"hidden": 128, "blocks": 8, "squeezes": 1}


def get_config(arg: str = ""):
    return pdd.images(pixelcnn_cifar10.get_config, arg, resnet=RESNET)
