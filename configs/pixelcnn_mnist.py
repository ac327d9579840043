"""PixelCNN++ with Gaussian conditionals on MNIST.

python -m fdnf.main --config=configs/pixelcnn_mnist.py:teacher,small \
    --workdir=runs/pixelcnn_mnist

Without `small` it is the paper's teacher: 84,400 steps, for a GPU.
"""

from configs import pixelcnn


def get_config(arg: str = ""):
    return pixelcnn.images("mnist", arg, steps=84_400)
