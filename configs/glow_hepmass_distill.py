"""Tabular Glow on HEPMASS: a teacher into a student of half its size.

python -m fdnf.main --config=configs/glow_hepmass_distill.py:ilkd \
    --workdir=runs/glow_hepmass
"""

from configs import common, glow_hepmass


def get_config(arg: str = ""):
    return common.distill(glow_hepmass.get_config, arg)
