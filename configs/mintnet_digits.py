"""MintNet on 8x8 handwritten digits, 17 grey levels, that scikit-learn carries.

python -m fdnf.main --config=configs/mintnet_digits.py:student --config.runs=3 \
    --workdir=runs/mintnet_digits

The student (78,932 weights stored, 50,032 of them not masked) is of the size of the
student of glow_digits.py (77,248). Bits/dim with the best validation of 1,500 steps,
mean and 95 % interval over seeds 0-2, 1,457 / 161 / 179 images:

                           validation       test
  student (K=5 a level)    1.977 +- 0.040   1.960 +- 0.046

Its inverse in float32, same seeds: each layer takes 6 or 7 steps in the median and 23
at most, and leaves a residual of at most 1.3e-6, at the latents of the test images and
at 3,000 of the prior. From latents to images and back the three seeds leave at most
9.1e-6 at those of the test images; at those of the prior 3.3e-6 in the median, 1.0e-5
at the 99.9th percentile and 1.4e-5 at most. The inverse in float64, rounded once,
leaves 1.1e-5 there, and a Glow student, whose inverse is a formula, 4.8e-6 and at most
1.2e-5: that is the rounding of `encode`. The teacher was not trained.
"""

from configs import common, mintnet

TEACHER = {"levels": 2, "steps": 8, "hidden": 28}
STUDENT = {"levels": 2, "steps": 5, "hidden": 20}
KEYS = {
    "train/steps": 1500,
    "train/eval_every": 100,
    "train/steps_per_call": 50,
    "optim/lr": 8e-3,
    "optim/ema": 0.99,
    "eval/extractors": ("classifier",),
}


def get_config(arg: str = ""):
    words = common.parse_arg(arg, mintnet.WORDS)
    return mintnet.images("digits_8x8", words, TEACHER, STUDENT, KEYS)
