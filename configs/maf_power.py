"""MAF on POWER.

python -m fdnf.main --config=configs/maf_power.py:teacher \
    --workdir=runs/maf_power
"""

from configs import common


def get_config(arg: str = ""):
    return common.maf("power", arg)
