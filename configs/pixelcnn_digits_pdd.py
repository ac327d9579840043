"""Parallel students of a PixelCNN on 8x8 digits.

python -m fdnf.main --config=configs/pixelcnn_digits_pdd.py:x \
    --workdir=runs/pixelcnn_digits_pdd
"""

from configs import pdd, pixelcnn_digits

RESNET = {"hidden": 64, "blocks": 6, "squeezes": 1}


def get_config(arg: str = ""):
    return pdd.images(pixelcnn_digits.get_config, arg, resnet=RESNET)
