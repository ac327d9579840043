"""MAF on HEPMASS: a teacher into a student of half its size.

python -m fdnf.main --config=configs/maf_hepmass_distill.py:ilkd \
    --workdir=runs/maf_hepmass
"""

from configs import common, maf_hepmass


def get_config(arg: str = ""):
    return common.distill(maf_hepmass.get_config, arg)
