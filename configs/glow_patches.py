"""Tabular Glow on patches.

python -m fdnf.main --config=configs/glow_patches.py:teacher \
    --workdir=runs/glow_patches
"""

from configs import common


def get_config(arg: str = ""):
    return common.glow("patches", arg)
