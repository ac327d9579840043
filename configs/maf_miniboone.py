"""MAF on MINIBOONE.

python -m fdnf.main --config=configs/maf_miniboone.py:teacher \
    --workdir=runs/maf_miniboone
"""

from configs import common


def get_config(arg: str = ""):
    config = common.maf("miniboone", arg)
    if "smoke" not in arg:
        # Longer only overfits: the best validation comes early.
        config.train.update(steps=5000, eval_every=200, log_every=200)
    return config
