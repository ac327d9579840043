"""MAF on POWER.

python -m fdnf.main --config=configs/maf_power.py:ilkd --workdir=runs/maf_power
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.maf("power", arg)
