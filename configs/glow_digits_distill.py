"""Glow on 8x8 digits: a teacher into a student of fewer steps.

python -m fdnf.main --config=configs/glow_digits_distill.py:ilkd \
    --workdir=runs/glow_digits_distill
"""

from configs import common, glow_digits


def get_config(arg: str = ""):
    return common.distill(glow_digits.get_config, arg)
