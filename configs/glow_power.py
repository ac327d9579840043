"""Tabular Glow on POWER.

python -m fdnf.main --config=configs/glow_power.py:teacher \
    --workdir=runs/glow_power
"""

from configs import common


def get_config(arg: str = ""):
    return common.glow("power", arg)
