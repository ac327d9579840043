"""A small WaveNet with Gaussian samples on a telephone exchange's prompts, 8 kHz.

python -m fdnf.main --config=configs/wavenet_asterisk.py --workdir=runs/wavenet

Where the recordings are from: see `waveglow_asterisk`. Not trained to its end yet.
"""

from configs import wavenet


def get_config(arg: str = ""):
    return wavenet.speech("asterisk", arg, telephone=True)
