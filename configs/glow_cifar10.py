"""Glow on CIFAR-10.

python -m fdnf.main --config=configs/glow_cifar10.py:teacher \
    --workdir=runs/glow_cifar10

Sizes are those of Walton et al. (2023), table 5 with its header put right: K steps on
each of L levels, hidden channels, weights.

            L   K    hidden   weights
  teacher   3   32   512      44,152,176
  student   3   8    512      11,040,528
"""

from configs import common

TEACHER = {"levels": 3, "steps": 32, "hidden": 512}
STUDENT = {"levels": 3, "steps": 8, "hidden": 512}


def get_config(arg: str = ""):
    config = common.image_glow("cifar10", arg, TEACHER, STUDENT)
    if "smoke" not in arg:
        config.data.flip = True
        # The released code: Adam at a constant 5e-4, batches of 64.
        config.optim.update(lr=5e-4, warmup=1000)
        config.train.update(steps=200_000, log_every=500, eval_every=5000)
    return config
