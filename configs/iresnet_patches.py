"""i-ResNet on 8x8 patches of photographs that installed packages carry.

python -m fdnf.main --config=configs/iresnet_patches.py --workdir=runs/iresnet_patches
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.iresnet("patches", arg)
