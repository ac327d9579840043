"""Glow on 8x8 handwritten digits, 17 grey levels, that scikit-learn carries.

python -m fdnf.main --config=configs/glow_digits.py --workdir=runs/glow_digits

Bits/dim with the best validation of 1,500 steps, mean and 95 % interval over seeds 0-4,
1,457 / 161 / 179 images; compares with nothing published. Longer training overfits.

                       validation       test
  teacher (K=12)       2.161 +- 0.016   2.152 +- 0.014
  student (K=4)        2.263 +- 0.015   2.267 +- 0.014
"""

from configs import glow

TEACHER = {"levels": 2, "steps": 12, "hidden": 64}
STUDENT = {"levels": 2, "steps": 4, "hidden": 64}
KEYS = {
    "train/steps": 1500,
    "train/eval_every": 100,
    "train/steps_per_call": 50,
    "optim/lr": 4e-3,
    "optim/ema": 0.99,
    "eval/extractors": ("classifier",),
}


def get_config(arg: str = ""):
    return glow.images("digits_8x8", arg, TEACHER, STUDENT, KEYS, channels=1)
