"""Tabular Glow on patches.

python -m fdnf.main --config=configs/glow_patches.py:teacher \
    --workdir=runs/glow_patches
"""

from configs import common


def get_config(arg: str = ""):
    config = common.glow("patches", arg)
    if "smoke" not in arg:
        # Teacher and two students in three minutes on two cores.
        config.train.update(steps=4000, batch_size=512, eval_every=500)
    return config
