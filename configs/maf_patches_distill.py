"""MAF on patches: a teacher into a student of half its size.

python -m fdnf.main --config=configs/maf_patches_distill.py:ilkd \
    --workdir=runs/maf_patches
"""

from configs import common, maf_patches


def get_config(arg: str = ""):
    return common.distill(maf_patches.get_config, arg)
