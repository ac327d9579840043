"""TarFlow on MNIST, 49 tokens of 4x4 pixels; not trained here.

python -m fdnf.main --config=configs/tarflow_mnist.py --workdir=runs/tarflow_mnist
"""

from configs import tarflow


def get_config(arg: str = ""):
    return tarflow.images("mnist", arg, steps=1500, keys={"model/args/patch": 4})
