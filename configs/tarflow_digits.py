"""TarFlow on 8x8 handwritten digits, 17 grey levels.

python -m fdnf.main --config=configs/tarflow_digits.py --workdir=runs/tarflow_digits

Bits/dim with the best validation of 1,500 steps, seed 0, 1,457 / 161 / 179 images; +-
is the standard error over the images. Compares with nothing published; PixelCNN's
teacher of `pixelcnn_digits` has 2.033 on test. Longer training overfits: the best step
was about 1,000.

             validation       test
  teacher    2.053 +- 0.021   2.043 +- 0.020

The students were not trained here.
"""

from configs import tarflow

KEYS = {
    "optim/lr": 3e-3,
    "train/eval_every": 100,
    "train/steps_per_call": 50,
}


def get_config(arg: str = ""):
    return tarflow.images("digits_8x8", arg, steps=1500, keys=KEYS)
