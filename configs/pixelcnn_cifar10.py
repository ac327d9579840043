"""PixelCNN++ with Gaussian conditionals on CIFAR-10, for a GPU.

python -m fdnf.main --config=configs/pixelcnn_cifar10.py --workdir=runs/pixelcnn_cifar10

The channels of a pixel are autoregressive too. Figure 6 of Huang et al. (2019) has no
figures beside it; 45,000 images in batches of 64 for 100 epochs are 70,300 steps.
"""

from configs import pixelcnn

RESNET = {"hidden": 128, "blocks": 8, "squeezes": 1}


def get_config(arg: str = ""):
    return pixelcnn.images(
        "cifar10", arg, steps=70_300, resnet=RESNET, channels=3, side=32
    )
