"""Tabular Glow on GAS: a teacher into a student of half its size.

python -m fdnf.main --config=configs/glow_gas_distill.py:ilkd \
    --workdir=runs/glow_gas
"""

from configs import common, glow_gas


def get_config(arg: str = ""):
    return common.distill(glow_gas.get_config, arg)
