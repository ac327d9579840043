"""A small WaveNet with Gaussian samples on a telephone exchange's prompts, 8 kHz.

python -m fdnf.main --config=configs/wavenet_asterisk.py --workdir=runs/wavenet

Its students: `:clarinet`, `:parallel_wavenet`, `:kl`, `:z`, `:x`, `:oracle`, and
`:feed_forward` on groups of eight samples. Where the recordings are from: see
`waveglow_asterisk`. Comparable with nothing published.

Seed 0: 4.61 nats a sample (log density, validation windows) after 4,500 steps, and on
30 test clips an ESTOI of 0.851 and a voicing error of 15.4 %; configs/RESULTS.md has
the rest.
"""

from configs import wavenet


def get_config(arg: str = ""):
    return wavenet.speech("asterisk", arg, telephone=True)
