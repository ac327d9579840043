"""PixelCNN++ with Gaussian conditionals on 8x8 handwritten digits, 17 grey levels.

python -m fdnf.main --config=configs/pixelcnn_digits.py:teacher \
    --workdir=runs/pixelcnn_digits

Bits/dim with the best validation of 600 steps, seed 0, 1,457 / 161 / 179 images; +- is
the standard error over the images. Compares with nothing published; Glow's teacher of
`glow_digits` has 2.152 on test. Longer training overfits: the best step was 300.

             validation       test
  teacher    2.078 +- 0.032   2.033 +- 0.020
"""

from configs import pixelcnn


def get_config(arg: str = ""):
    config = pixelcnn.images("digits_8x8", arg, steps=2300)
    if "smoke" not in arg:
        config.model.args = {"features": 32, "blocks": 1, "stages": 2}
        config.optim.update(lr=3e-3, ema=0.99)
        config.train.update(steps=600, eval_every=100, steps_per_call=50)
    return config
