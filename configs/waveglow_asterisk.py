"""A small WaveGlow on a telephone exchange's prompts: one voice, 25 minutes, 8 kHz.

python -m fdnf.main --config=configs/waveglow_asterisk.py --workdir=runs/wg_asterisk

The recordings are Debian's package asterisk-core-sounds-en-wav: `apt-get install` it.
Without the right to install, `apt-get download` it and `dpkg-deb -x` it into asterisk/
of the directory that FDNF_DATA_DIR names. Comparable with nothing published.

Seed 0: 3.56 nats a sample (log density, validation windows) at the best validation of
8,000 steps, the last.
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.teacher("asterisk", f"{arg},small", telephone=True)
