"""MAF on toy sets in the plane; `figures/density.png` shows its density.

python -m fdnf.main --config=configs/maf_toys.py:rings,ilkd --workdir=runs/rings
"""

from configs import common, vectors

SETS = common.Choice(vectors.TOYS)


def get_config(arg: str = ""):
    words = common.parse_arg(arg, (SETS, *vectors.MAF_WORDS))
    data = next((word for word in SETS.words if word in words), SETS.words[0])
    return vectors.maf(data, ",".join(words - {*SETS.words}))
