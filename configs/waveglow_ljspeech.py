"""WaveGlow on LJSpeech: the published model, or `:small` for two CPU cores.

Baranchuk et al. (2021), table 2: MOS 3.92 +- 0.08, 87.73 M weights, 1.26 MHz. The
published size was not trained here: no GPU was at hand.

  python -m fdnf.main --config=configs/waveglow_ljspeech.py:small --workdir=runs/wg
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.teacher("ljspeech", arg)
