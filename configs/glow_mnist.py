"""Glow on MNIST, 28x28.

python -m fdnf.main --config=configs/glow_mnist.py:teacher \
    --workdir=runs/glow_mnist
"""

from configs import common

TEACHER = {"levels": 2, "steps": 8, "hidden": 64}
STUDENT = {"levels": 2, "steps": 4, "hidden": 64}


def get_config(arg: str = ""):
    config = common.image_glow("mnist", arg, TEACHER, STUDENT, channels=1)
    if "smoke" not in arg:
        config.train.update(steps=2000, batch_size=32)
        config.optim.update(lr=5e-3, ema=0.99)
        config.eval.extractors = ("classifier",)
    return config
