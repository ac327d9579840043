"""Tabular Glow on POWER.

python -m fdnf.main --config=configs/glow_power.py:ilkd --workdir=runs/glow_power
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.glow("power", arg)
