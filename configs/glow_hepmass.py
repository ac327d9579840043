"""Tabular Glow on HEPMASS.

python -m fdnf.main --config=configs/glow_hepmass.py:ilkd --workdir=runs/glow_hepmass
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.glow("hepmass", arg)
