"""Students of the 8 kHz WaveGlow: v1, v2, v3; flow, wide_flow, affine.

python -m fdnf.main --mode=study --config=configs/waveglow_asterisk_student.py \
    --workdir=runs/wg_asterisk_students

waveglow_asterisk.py says how to get the recordings. Not trained here.
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.students("asterisk", f"{arg},small", telephone=True)
