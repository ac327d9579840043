"""MAF on GAS: a teacher into a student of half its size.

python -m fdnf.main --config=configs/maf_gas_distill.py:ilkd \
    --workdir=runs/maf_gas
"""

from configs import common, maf_gas


def get_config(arg: str = ""):
    return common.distill(maf_gas.get_config, arg)
