"""Continuous flow on toy sets in the plane; `figures/density.png` shows its density.

python -m fdnf.main --config=configs/continuous_toys.py:rings,pairs --workdir=runs/rings
"""

from configs import common, vectors

SETS = common.Choice(vectors.TOYS)


def get_config(arg: str = ""):
    words = common.parse_arg(arg, (SETS, *vectors.CONTINUOUS_WORDS))
    data = next((word for word in SETS.words if word in words), SETS.words[0])
    return vectors.continuous(data, ",".join(words - {*SETS.words}))
