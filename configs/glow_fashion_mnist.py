"""Glow on Fashion-MNIST, 28x28.

python -m fdnf.main --config=configs/glow_fashion_mnist.py:teacher \
    --workdir=runs/glow_fashion_mnist

Bits/dim after 2,000 steps of 32, two to three minutes on two CPU cores, mean and 95 %
interval over seeds 0-2; still falling.

                      validation       test
  teacher (K=8)       3.557 +- 0.044   3.574 +- 0.044
  student (K=4)       3.845 +- 0.165   3.862 +- 0.161
"""

from configs import common

TEACHER = {"levels": 2, "steps": 8, "hidden": 64}
STUDENT = {"levels": 2, "steps": 4, "hidden": 64}


def get_config(arg: str = ""):
    config = common.image_glow("fashion_mnist", arg, TEACHER, STUDENT, channels=1)
    if "smoke" not in arg:
        config.train.update(steps=2000, batch_size=32)
        config.optim.update(lr=5e-3, ema=0.99)
        config.eval.extractors = ("classifier",)
    return config
