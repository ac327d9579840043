"""PixelCNN++ with Gaussian conditionals on 8x8 handwritten digits, 17 grey levels.

python -m fdnf.main --config=configs/pixelcnn_digits.py:teacher \
    --workdir=runs/pixelcnn_digits
"""

from configs import pixelcnn


def get_config(arg: str = ""):
    config = pixelcnn.images("digits_8x8", arg, steps=2300)
    if "smoke" not in arg:
        config.model.args = {"features": 32, "blocks": 1, "stages": 2}
        config.optim.update(lr=3e-3, ema=0.99)
        config.train.update(steps=300, eval_every=50, steps_per_call=50)
    return config
