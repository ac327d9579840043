"""Glow on CIFAR-10.

python -m fdnf.main --config=configs/glow_cifar10.py --workdir=runs/glow_cifar10

Sizes are those of Walton et al. (2023), table 5 with its header put right: K steps on
each of L levels, hidden channels, weights.

            L   K    hidden   weights
  teacher   3   32   512      44,152,176
  student   3   8    512      11,040,528

No figure of ours: without a GPU the teacher was run for 50 steps of 4 images (two CPU
cores, 0.4 steps a second, 3.3 GiB), to 6.3 bits/dim on 16 images, and no further:
--config.train.steps=50 --config.train.batch_size=4 --config.train.steps_per_call=1
--config.train.eval_every=50 --config.optim.warmup=10, on splits cut to 16. One image
of the teacher's training costs about 32 GFLOP (8 forward, 4 times that with remat), so
the 200,000 steps here are 4e17; on a GPU that sustains 100 TFLOP/s they would take an
hour. That is arithmetic, not a measurement.

  Walton et al. (2023), table 4   student 3.498   ILKD 3.481   teacher 3.423 bits/dim
"""

from configs import glow

TEACHER = {"levels": 3, "steps": 32, "hidden": 512}
STUDENT = {"levels": 3, "steps": 8, "hidden": 512}
KEYS = {
    "data/flip": True,
    # The released code: Adam at a constant 5e-4, batches of 64.
    "optim/lr": 5e-4,
    "optim/warmup": 1000,
    "train/steps": 200_000,
    "train/log_every": 500,
    "train/eval_every": 5000,
}


def get_config(arg: str = ""):
    return glow.images("cifar10", arg, TEACHER, STUDENT, KEYS)
