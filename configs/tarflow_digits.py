"""TarFlow on 8x8 handwritten digits, 17 grey levels.

python -m fdnf.main --config=configs/tarflow_digits.py --workdir=runs/tarflow_digits
"""

from configs import tarflow

KEYS = {
    "optim/lr": 3e-3,
    "train/eval_every": 100,
    "train/steps_per_call": 50,
}


def get_config(arg: str = ""):
    return tarflow.images("digits_8x8", arg, steps=1500, keys=KEYS)
