"""MAF on MINIBOONE.

python -m fdnf.main --config=configs/maf_miniboone.py:ilkd --workdir=runs/maf_miniboone
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.maf("miniboone", arg)
