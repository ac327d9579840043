"""MAF to IAF on BSDS300: a density becomes a parallel sampler.

python -m fdnf.main --config=configs/iaf_bsds300_pdd.py:x \
    --workdir=runs/iaf_bsds300

How its students stand to their teacher, over three seeds, is in configs/RESULTS.md.
"""

from configs import maf_bsds300, pdd


def get_config(arg: str = ""):
    return pdd.iaf(maf_bsds300.get_config, arg)
