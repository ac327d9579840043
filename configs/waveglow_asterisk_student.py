"""Students of the 8 kHz WaveGlow: v1, v2, v3; flow, wide_flow, affine.

python -m fdnf.main --mode=study --config=configs/waveglow_asterisk_student.py \
    --workdir=runs/wg_asterisk_students

waveglow_asterisk.py says how to get the recordings. Of seed 0, v2 was trained (3,000
steps): mel l1 1.157 +- 0.042 on 30 test clips (95 % interval over clips), where noise
of 0 dB has 3.04 and Griffin-Lim 0.13.
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.students("asterisk", f"{arg},small", telephone=True)
