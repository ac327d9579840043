"""MAF on BSDS300.

python -m fdnf.main --config=configs/maf_bsds300.py:teacher \
    --workdir=runs/maf_bsds300
"""

from configs import common


def get_config(arg: str = ""):
    return common.maf("bsds300", arg)
