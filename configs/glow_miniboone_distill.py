"""Tabular Glow on MINIBOONE: a teacher into a student of half its size.

python -m fdnf.main --config=configs/glow_miniboone_distill.py:ilkd \
    --workdir=runs/glow_miniboone
"""

from configs import common, glow_miniboone


def get_config(arg: str = ""):
    return common.distill(glow_miniboone.get_config, arg)
