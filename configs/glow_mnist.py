"""Glow on MNIST, 28x28.

python -m fdnf.main --config=configs/glow_mnist.py --workdir=runs/glow_mnist
"""

from configs import glow


def get_config(arg: str = ""):
    return glow.images("mnist", arg, **glow.GREY_28)
