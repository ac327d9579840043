"""A small WaveNet with Gaussian samples on a telephone exchange's prompts, 8 kHz.

python -m fdnf.main --config=configs/wavenet_asterisk.py --workdir=runs/wavenet

Its students: `:clarinet`, `:parallel_wavenet`, `:kl`, `:z`, `:x`, `:oracle`. Where the
recordings are from: see `waveglow_asterisk`. Comparable with nothing published.

Seed 0: 3.52 nats a sample (log density, validation windows) after 4,500 steps, and an
ESTOI of 0.433 on 30 test clips, both still rising; configs/RESULTS.md has the rest.
"""

from configs import wavenet


def get_config(arg: str = ""):
    return wavenet.speech("asterisk", arg, telephone=True)
