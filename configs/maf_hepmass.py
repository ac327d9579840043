"""MAF on HEPMASS.

python -m fdnf.main --config=configs/maf_hepmass.py:ilkd --workdir=runs/maf_hepmass
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.maf("hepmass", arg)
