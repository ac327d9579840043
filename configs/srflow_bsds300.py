"""A small SRFlow x4 on BSDS300's training images, for two CPU cores.

python -m fdnf.main --config=configs/srflow_bsds300.py --workdir=runs/srflow_bsds300

First the encoder by mean distance, then the flow. Tested on Set5, Set14 and BSD100.
"""

from configs import common, srflow


def get_config(arg: str = ""):
    words = common.parse_arg(arg, ("teacher", "smoke"))
    size = "smoke" if "smoke" in words else "small"
    config = srflow.flow("bsds300_sr", size, 4)
    if "smoke" in words:
        return srflow.smoke(config)
    config.data.args.crop = 32
    config.train.update(steps=6000, batch_size=16, steps_per_call=50)
    config.optim.update(lr=1e-3)
    encoder = config.pretrained.config
    encoder.data.args.crop = 32
    encoder.train.update(steps=4000, batch_size=16, steps_per_call=50)
    encoder.optim.update(lr=1e-3)
    return config
