"""Students of the 8 kHz WaveGlow: v1, v2, v3; flow, wide_flow, affine.

python -m fdnf.main --mode=study --config=configs/waveglow_asterisk_student.py \
    --workdir=runs/wg_asterisk_students

waveglow_asterisk.py says how to get the recordings. Seeds 0-2, mel l1 on 30 test clips
above the teacher's (1.131), and samples a second over its: v1 0.006 and 4.2, v2 0.023
and 7.4, v3 0.029 and 14.5; flow 0.157 and 7.0, wide_flow 0.016 and 6.7, affine 0.033
and 7.5. configs/RESULTS.md has the intervals.
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.students("asterisk", f"{arg},small", telephone=True)
