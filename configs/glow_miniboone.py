"""Tabular Glow on MINIBOONE.

python -m fdnf.main --config=configs/glow_miniboone.py:ilkd --workdir=runs/miniboone
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.glow("miniboone", arg)
