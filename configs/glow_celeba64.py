"""Glow on CelebA, 64x64.

python -m fdnf.main --config=configs/glow_celeba64.py --workdir=runs/glow_celeba64

Sizes are those of Walton et al. (2023), table 5 with its header put right, but for the
teacher: its 61.2 M are an earlier model of the released code (`:teacher,61m`), of
four additive levels, which cannot be compared with the student level by level.

                L   K    hidden   coupling   weights
  teacher       3   32   512      affine     44,152,176
  teacher,61m   4   32   512      additive   61,178,832
  student       3   16   256      affine     7,946,544
"""

from configs import glow

TEACHER = {"levels": 3, "steps": 32, "hidden": 512}
TEACHER_61M = {"levels": 4, "steps": 32, "hidden": 512, "transformer": "additive"}
STUDENT = {"levels": 3, "steps": 16, "hidden": 256}


KEYS = {
    "data/flip": True,
    # The released code: Adamax at a constant 1e-4, batches of 32.
    "optim/name": "adamax",
    "optim/lr": 1e-4,
    "optim/warmup": 1000,
    "train/batch_size": 32,
    "train/steps": 275_000,
    "train/log_every": 500,
    "train/eval_every": 5000,
}


def get_config(arg: str = ""):
    larger = {"61m": TEACHER_61M}
    return glow.images("celeba64", arg, TEACHER, STUDENT, KEYS, larger=larger)
