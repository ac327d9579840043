"""Glow on CelebA, 64x64.

python -m fdnf.main --config=configs/glow_celeba64.py:teacher \
    --workdir=runs/glow_celeba64

Sizes are those of Walton et al. (2023), table 5 with its header put right, but for the
teacher: its 61.2 M are an earlier model of the released code (`:teacher,61m`), of
four additive levels, which cannot be compared with the student level by level.

                L   K    hidden   coupling   weights
  teacher       3   32   512      affine     44,152,176
  teacher,61m   4   32   512      additive   61,178,832
  student       3   16   256      affine     7,946,544
"""

from configs import common

TEACHER = {"levels": 3, "steps": 32, "hidden": 512}
TEACHER_61M = {"levels": 4, "steps": 32, "hidden": 512, "transform": "additive"}
STUDENT = {"levels": 3, "steps": 16, "hidden": 256}


def get_config(arg: str = ""):
    words = [word for word in arg.split(",") if word]
    teacher = TEACHER_61M if "61m" in words else TEACHER
    rest = ",".join(word for word in words if word != "61m")
    config = common.image_glow("celeba64", rest, teacher, STUDENT)
    if "smoke" not in words:
        config.data.flip = True
        # The released code: Adamax at a constant 1e-4, batches of 32.
        config.optim.update(name="adamax", lr=1e-4, warmup=1000)
        config.train.update(batch_size=32, steps=275_000, log_every=500)
        config.train.eval_every = 5000
    return config
