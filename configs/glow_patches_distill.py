"""Tabular Glow on patches: a teacher into a student of half its size.

python -m fdnf.main --config=configs/glow_patches_distill.py:ilkd \
    --workdir=runs/glow_patches
"""

from configs import common, glow_patches


def get_config(arg: str = ""):
    return common.distill(glow_patches.get_config, arg)
