"""MintNet on MNIST, 28x28.

python -m fdnf.main --config=configs/mintnet_mnist.py:student \
    --workdir=runs/mintnet_mnist

The word `paper` asks for the published flow (20 pairs of layers over three
resolutions, 45 units per channel), data (logit with a margin of 1e-6) and optimizer
but for amsgrad: 600 epochs in batches of 32, for an accelerator and a long time.
Published: 0.98 bits/dim. None of the three was trained to the end here.
"""

from configs import mintnet

TEACHER = {"levels": 3, "steps": 6, "hidden": 32}
STUDENT = {"levels": 3, "steps": 3, "hidden": 16}
PAPER = {"levels": 3, "steps": (6, 6, 8), "hidden": 45}


def get_config(arg: str = ""):
    words = arg.split(",")
    teacher = PAPER if "paper" in words and "smoke" not in words else TEACHER
    config = mintnet.images("mnist", arg, teacher, STUDENT, ("paper",))
    if "smoke" in words:
        return config
    config.train.update(steps=4000, batch_size=32)
    config.optim.update(lr=4e-3, ema=0.99)
    config.eval.extractors = ("classifier",)
    if "paper" in words:
        config.data.logit = 1e-6
        config.train.update(steps=600 * 1875)
        config.optim.update(lr=1e-3, eps=1e-4, schedule="constant", warmup=0)
    return config
