"""MAF on HEPMASS.

python -m fdnf.main --config=configs/maf_hepmass.py:teacher \
    --workdir=runs/maf_hepmass
"""

from configs import common


def get_config(arg: str = ""):
    return common.maf("hepmass", arg)
