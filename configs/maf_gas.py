"""MAF on GAS.

python -m fdnf.main --config=configs/maf_gas.py:ilkd --workdir=runs/maf_gas
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.maf("gas", arg)
