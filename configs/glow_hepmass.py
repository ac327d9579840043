"""Tabular Glow on HEPMASS.

python -m fdnf.main --config=configs/glow_hepmass.py:teacher \
    --workdir=runs/glow_hepmass
"""

from configs import common


def get_config(arg: str = ""):
    return common.glow("hepmass", arg)
