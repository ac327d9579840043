"""WaveGlow on LJSpeech, and its feed-forward students; `:small` for two CPU cores.

  python -m fdnf.main --config=configs/waveglow_ljspeech.py:small --workdir=runs/wg
  python -m fdnf.main --mode=study --config=configs/waveglow_ljspeech.py:student,small \
      --workdir=runs/waveglow_students

Baranchuk et al. (2021), table 2: WaveGlow MOS 3.92 +- 0.08, 87.73 M weights, 1.26 MHz;
V1 3.91, 9.53 M, 9.36 MHz; V2 3.89, 6.35 M, 12.21; V3 3.62, 3.18 M, 23.62. Table 4: flow
3.42, wide flow 3.93, affine 3.90, WaveNet (V2) 3.89. The published sizes were not
trained here: there was no GPU.
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.speech("ljspeech", arg)
