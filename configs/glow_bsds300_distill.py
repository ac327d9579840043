"""Tabular Glow on BSDS300: a teacher into a student of half its size.

python -m fdnf.main --config=configs/glow_bsds300_distill.py:ilkd \
    --workdir=runs/glow_bsds300
"""

from configs import common, glow_bsds300


def get_config(arg: str = ""):
    return common.distill(glow_bsds300.get_config, arg)
