"""MAF on patches.

python -m fdnf.main --config=configs/maf_patches.py:teacher \
    --workdir=runs/maf_patches
"""

from configs import common


def get_config(arg: str = ""):
    return common.maf("patches", arg)
