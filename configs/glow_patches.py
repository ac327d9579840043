"""Tabular Glow on 8x8 patches of photographs that installed packages carry.

python -m fdnf.main --config=configs/glow_patches.py:ilkd --workdir=runs/glow_patches
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.glow("patches", arg)
