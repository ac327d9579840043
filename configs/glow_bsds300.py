"""Tabular Glow on BSDS300.

python -m fdnf.main --config=configs/glow_bsds300.py:teacher \
    --workdir=runs/glow_bsds300
"""

from configs import common


def get_config(arg: str = ""):
    return common.glow("bsds300", arg)
