"""A small WaveGlow on a telephone exchange's prompts: one voice, 25 minutes, 8 kHz.

python -m fdnf.main --config=configs/waveglow_asterisk.py --workdir=runs/wg_asterisk
python -m fdnf.main --mode=study --config=configs/waveglow_asterisk.py:student \
    --workdir=runs/wg_asterisk_students

The recordings are Debian's package asterisk-core-sounds-en-wav: `apt-get install` it.
Without the right to install, `apt-get download` it and `dpkg-deb -x` it into asterisk/
of the directory that FDNF_DATA_DIR names. Comparable with nothing published.

Seed 0: 4.54 nats a sample (log density, validation windows) after 8,000 steps; on 30
test clips an ESTOI of 0.820, its students v1 0.813 and v2 0.809 with a fifth and a
tenth of its weights (one seed).
configs/RESULTS.md has the intervals.
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.speech("asterisk", arg, telephone=True)
