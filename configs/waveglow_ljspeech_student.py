"""Feed-forward students of WaveGlow on LJSpeech: v1, v2, v3; flow, wide_flow, affine.

Baranchuk et al. (2021), table 2: V1 MOS 3.91, 9.53 M weights, 9.36 MHz; V2 3.89, 6.35,
12.21; V3 3.62, 3.18 M, 23.62. Table 4: flow 3.42, wide flow 3.93, affine 3.90, WaveNet
(V2) 3.89. The published sizes were not trained here.

  python -m fdnf.main --mode=study --config=configs/waveglow_ljspeech_student.py:small \
      --workdir=runs/waveglow_students
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.students("ljspeech", arg)
