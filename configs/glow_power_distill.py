"""Tabular Glow on POWER: a teacher into a student of half its size.

python -m fdnf.main --config=configs/glow_power_distill.py:ilkd \
    --workdir=runs/glow_power
"""

from configs import common, glow_power


def get_config(arg: str = ""):
    return common.distill(glow_power.get_config, arg)
