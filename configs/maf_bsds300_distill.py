"""MAF on BSDS300: a teacher into a student of half its size.

python -m fdnf.main --config=configs/maf_bsds300_distill.py:ilkd \
    --workdir=runs/maf_bsds300
"""

from configs import common, maf_bsds300


def get_config(arg: str = ""):
    return common.distill(maf_bsds300.get_config, arg)
