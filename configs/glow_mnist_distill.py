"""Glow on MNIST: a teacher into a student of fewer steps.

python -m fdnf.main --config=configs/glow_mnist_distill.py:ilkd \
    --workdir=runs/glow_mnist_distill
"""

from configs import common, glow_mnist


def get_config(arg: str = ""):
    return common.distill(glow_mnist.get_config, arg)
