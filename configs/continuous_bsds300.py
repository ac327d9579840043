"""Continuous flow on BSDS300.

python -m fdnf.main --config=configs/continuous_bsds300.py --workdir=runs/continuous
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.continuous("bsds300", arg)
