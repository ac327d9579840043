"""Glow on Fashion-MNIST: a teacher into a student of fewer steps.

python -m fdnf.main --config=configs/glow_fashion_mnist_distill.py:ilkd \
    --workdir=runs/glow_fashion_mnist_distill
"""

from configs import common, glow_fashion_mnist


def get_config(arg: str = ""):
    return common.distill(glow_fashion_mnist.get_config, arg)
