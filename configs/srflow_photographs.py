"""A small SRFlow x4 on photographs that installed packages carry: no files needed.

python -m fdnf.main --config=configs/srflow_photographs.py:student \
    --workdir=runs/srflow_photographs

Six photographs to train on, one held out, two to test on, so that figures compare with
nothing published; otherwise as srflow_bsds300.py. Not trained here.
"""

from configs import srflow


def get_config(arg: str = ""):
    return srflow.small("photographs", arg)
