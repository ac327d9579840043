"""PixelCNN++ with Gaussian conditionals on 8x8 handwritten digits, 17 grey levels.

python -m fdnf.main --config=configs/pixelcnn_digits.py --workdir=runs/pixelcnn_digits

Bits/dim with the best validation of 600 steps, seed 0, 1,457 / 161 / 179 images; +- is
the standard error over the images. Compares with nothing published; Glow's teacher of
`glow_digits` has 2.152 on test. Longer training overfits: the best step was 300.

             validation       test
  teacher    2.078 +- 0.032   2.033 +- 0.020
"""

from configs import pixelcnn

RESNET = {"hidden": 64, "blocks": 6, "squeezes": 1}
KEYS = {
    "model/args": {"features": 32, "blocks": 1, "stages": 2},
    "optim/lr": 3e-3,
    "optim/ema": 0.99,
    "train/eval_every": 100,
    "train/steps_per_call": 50,
}


def get_config(arg: str = ""):
    return pixelcnn.images(
        "digits_8x8", arg, steps=600, resnet=RESNET, keys=KEYS, side=8
    )
