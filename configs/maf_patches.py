"""MAF on patches.

python -m fdnf.main --config=configs/maf_patches.py:teacher \
    --workdir=runs/maf_patches
"""

from configs import common


def get_config(arg: str = ""):
    config = common.maf("patches", arg)
    if "smoke" not in arg:
        # Teacher and two students in three minutes on two cores.
        config.train.update(steps=5000, batch_size=1024, eval_every=500)
    return config
