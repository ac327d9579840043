"""i-ResNet on 8x8 handwritten digits, 17 grey levels, that scikit-learn carries.

python -m fdnf.main --config=configs/iresnet_digits.py --workdir=runs/iresnet_digits

Bits/dim of seed 0 with the best validation of 1,500 steps, 1,457 / 161 / 179 images
(teacher, 178,576 weights): validation 2.183, test 2.158, with
--config.model.args.sure=2 --config.model.args.chance=0.905 (see RESULTS.md).
"""

from ml_collections import ConfigDict

from configs import common, teaching

WORDS = (common.FLOWS, common.PRESET, common.SMOKE)
MODELS = {
    "teacher": {"levels": 2, "steps": 8, "hidden": 64},
    "student": {"levels": 2, "steps": 4, "hidden": 32},
}
KEYS = {
    "train/steps": 1500,
    "train/eval_every": 100,
    "train/steps_per_call": 50,
    "optim/lr": 4e-3,
    "optim/ema": 0.99,
    "eval/extractors": ("classifier",),
}


def get_config(arg: str = ""):
    words = common.parse_arg(arg, WORDS)

    def make(role: str) -> ConfigDict:
        config = common.images()
        config.data.name = "digits_8x8"
        config.model.name = "iresnet_multiscale"
        config.role = role
        config.model.args = ConfigDict(MODELS[role])
        if "smoke" in words:
            return common.smoke_images(config)
        return common.set_keys(config, KEYS)

    return teaching.flow(make, words)
