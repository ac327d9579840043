"""MAF to IAF on MINIBOONE: a density becomes a parallel sampler.

python -m fdnf.main --config=configs/iaf_miniboone_pdd.py:x \
    --workdir=runs/iaf_miniboone
"""

from configs import maf_miniboone, pdd


def get_config(arg: str = ""):
    return pdd.iaf(maf_miniboone.get_config, arg)
