"""i-ResNet on 8x8 patches of photographs that installed packages carry.

python -m fdnf.main --config=configs/iresnet_patches.py --workdir=runs/iresnet_patches

Nats of seed 0 after 4,000 steps (teacher K=8, 99,832 weights): validation 152.88, test
139.94, the first half of them with --config.model.args.sure=2
--config.model.args.chance=0.905 (see RESULTS.md). MAF gets 144.95 and Glow 147.13 on
test.
"""

from configs import vectors


def get_config(arg: str = ""):
    return vectors.iresnet("patches", arg)
