"""MintNet on MNIST, 28x28.

python -m fdnf.main --config=configs/mintnet_mnist.py:student \
    --workdir=runs/mintnet_mnist

The word `paper` asks for the published flow (20 pairs of layers over three
resolutions, 45 units per channel), data (logit with a margin of 1e-6) and optimizer
but for amsgrad: 600 epochs in batches of 32, for an accelerator and a long time.
Published: 0.98 bits/dim. None of the three was trained to the end here.
"""

from configs import common, mintnet

TEACHER = {"levels": 3, "steps": 6, "hidden": 32}
STUDENT = {"levels": 3, "steps": 3, "hidden": 16}
PAPER = {"levels": 3, "steps": (6, 6, 8), "hidden": 45}
KEYS = {
    "train/steps": 4000,
    "train/batch_size": 32,
    "optim/lr": 4e-3,
    "optim/ema": 0.99,
    "eval/extractors": ("classifier",),
}
PAPER_KEYS = KEYS | {
    "data/logit": 1e-6,
    "train/steps": 600 * 1875,
    "optim/lr": 1e-3,
    "optim/eps": 1e-4,
    "optim/schedule": "constant",
    "optim/warmup": 0,
}


def get_config(arg: str = ""):
    words = common.parse_arg(arg, (*mintnet.WORDS, common.Choice(("paper",))))
    if "paper" in words and "smoke" not in words:
        return mintnet.images("mnist", words, PAPER, STUDENT, PAPER_KEYS)
    return mintnet.images("mnist", words, TEACHER, STUDENT, KEYS)
