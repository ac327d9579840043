"""Tabular Glow on MINIBOONE.

python -m fdnf.main --config=configs/glow_miniboone.py:teacher \
    --workdir=runs/glow_miniboone
"""

from configs import common


def get_config(arg: str = ""):
    return common.glow("miniboone", arg)
