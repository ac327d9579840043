"""MAF on 8x8 patches of photographs that installed packages carry.

python -m fdnf.main --config=configs/maf_patches.py:ilkd --workdir=runs/maf_patches
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.maf("patches", arg)
