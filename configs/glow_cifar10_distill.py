"""Glow on CIFAR-10: a teacher into a student of fewer steps.

python -m fdnf.main --config=configs/glow_cifar10_distill.py:ilkd \
    --workdir=runs/glow_cifar10_distill
"""

from configs import common, glow_cifar10


def get_config(arg: str = ""):
    return common.distill(glow_cifar10.get_config, arg)
