"""Continuous flow on BSDS300.

python -m fdnf.main --config=configs/continuous_bsds300.py --workdir=runs/continuous

Not trained to its end: seed 0, 2,000 steps and then 5,000 (the rate anew), with
4 levels of 4 steps, of 30,000: 105.9 nats (se 2.6) on 200 test rows, where the MAF of
`maf_bsds300.py` has 147.9. Exact densities of all test rows want a GPU.
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.continuous("bsds300", arg)
