"""MAF on MINIBOONE: a teacher into a student of half its size.

python -m fdnf.main --config=configs/maf_miniboone_distill.py:ilkd \
    --workdir=runs/maf_miniboone
"""

from configs import common, maf_miniboone


def get_config(arg: str = ""):
    return common.distill(maf_miniboone.get_config, arg)
