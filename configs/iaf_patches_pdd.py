"""MAF to IAF on patches: a density becomes a parallel sampler.

python -m fdnf.main --config=configs/iaf_patches_pdd.py:x \
    --workdir=runs/iaf_patches
"""

from configs import maf_patches, pdd


def get_config(arg: str = ""):
    return pdd.iaf(maf_patches.get_config, arg)
