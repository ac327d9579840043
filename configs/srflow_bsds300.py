"""A small SRFlow x4 on BSDS300's training images, for two CPU cores.

python -m fdnf.main --config=configs/srflow_bsds300.py --workdir=runs/srflow_bsds300

First the encoder by mean distance, then the flow. Tested on Set5, Set14 and BSD100.
Seed 0: 0.977 bits a dimension on validation windows; LPIPS on BSD100 0.293, bicubic
0.524, the encoder alone 0.467.
With `:pretrained` the encoder alone, for a flow that is given `pretrained.workdir`.
"""

from configs import srflow


def get_config(arg: str = ""):
    return srflow.small("bsds300_sr", arg)
