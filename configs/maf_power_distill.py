"""MAF on POWER: a teacher into a student of half its size.

python -m fdnf.main --config=configs/maf_power_distill.py:ilkd \
    --workdir=runs/maf_power
"""

from configs import common, maf_power


def get_config(arg: str = ""):
    return common.distill(maf_power.get_config, arg)
