"""WaveNet with Gaussian samples on LJSpeech; `:small` for two CPU cores.

python -m fdnf.main --config=configs/wavenet_ljspeech.py:small --workdir=runs/wavenet

Without `small` it has ClariNet's sizes, for a GPU. Neither was trained here.
"""

from configs import wavenet


def get_config(arg: str = ""):
    return wavenet.speech("ljspeech", arg)
