"""MAF on GAS.

python -m fdnf.main --config=configs/maf_gas.py:teacher \
    --workdir=runs/maf_gas
"""

from configs import common


def get_config(arg: str = ""):
    return common.maf("gas", arg)
