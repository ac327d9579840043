"""A small WaveGlow on a telephone exchange's prompts: one voice, 25 minutes, 8 kHz.

python -m fdnf.main --config=configs/waveglow_asterisk.py --workdir=runs/wg_asterisk
python -m fdnf.main --mode=study --config=configs/waveglow_asterisk.py:student \
    --workdir=runs/wg_asterisk_students

The recordings are Debian's package asterisk-core-sounds-en-wav: `apt-get install` it.
Without the right to install, `apt-get download` it and `dpkg-deb -x` it into asterisk/
of the directory that FDNF_DATA_DIR names. Comparable with nothing published.

Seed 0: 3.56 nats a sample (log density, validation windows) at the best validation of
8,000 steps, the last. Its students, seeds 0-2, mel l1 on 30 test clips above the
teacher's (1.131), and samples a second over its: v1 0.006 and 4.2, v2 0.023 and 7.4,
v3 0.029 and 14.5; flow 0.157 and 7.0, wide_flow 0.016 and 6.7, affine 0.033 and 7.5.
configs/RESULTS.md has the intervals.
"""

from configs import waveglow


def get_config(arg: str = ""):
    return waveglow.speech("asterisk", arg, telephone=True)
