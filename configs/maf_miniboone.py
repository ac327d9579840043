"""MAF on MINIBOONE.

python -m fdnf.main --config=configs/maf_miniboone.py:teacher \
    --workdir=runs/maf_miniboone
"""

from configs import common


def get_config(arg: str = ""):
    return common.maf("miniboone", arg)
