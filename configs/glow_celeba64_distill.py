"""Glow on CelebA: a teacher into a student of fewer steps.

python -m fdnf.main --config=configs/glow_celeba64_distill.py:ilkd \
    --workdir=runs/glow_celeba64_distill
"""

from configs import common, glow_celeba64


def get_config(arg: str = ""):
    return common.distill(glow_celeba64.get_config, arg)
