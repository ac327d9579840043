"""Tabular Glow on GAS.

python -m fdnf.main --config=configs/glow_gas.py:ilkd --workdir=runs/glow_gas
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.glow("gas", arg)
