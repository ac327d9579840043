"""Tabular Glow on GAS.

python -m fdnf.main --config=configs/glow_gas.py:teacher \
    --workdir=runs/glow_gas
"""

from configs import common


def get_config(arg: str = ""):
    return common.glow("gas", arg)
