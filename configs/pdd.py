"""Probability density distillation: a MAF that teaches an IAF, as `iaf_*_pdd.py`."""

from collections.abc import Callable

from ml_collections import ConfigDict

METHODS = ("kl", "z", "x", "oracle")


def iaf(get_teacher: Callable[[str], ConfigDict], arg: str = "") -> ConfigDict:
    """A parallel student of the size of Walton et al.'s, taught by a MAF.

    Args:
      get_teacher: of the teacher's file, as `get_teacher("teacher")`.
      arg: the method (default x), and what `get_teacher` knows beside "teacher" and
        "student". kl: reverse KL. z, x: reconstruction of latents, of data. oracle:
        prediction of the teacher's samples.
    """
    words = [word for word in arg.split(",") if word]
    chosen = [method for method in METHODS if method in words] or ["x"]
    if len(chosen) > 1:
        raise ValueError(f"give one method of {METHODS}, not {chosen}")
    if {"teacher", "student"} & set(words):
        raise ValueError(f"a distilled student is both, give a method of {METHODS}")
    rest = "".join(f",{word}" for word in words if word not in METHODS)
    # Its data, optimizer and length of training, with a flow of its own.
    config = get_teacher("student" + rest)
    config.model.name = "iaf"

    config.teacher = teacher = ConfigDict()
    teacher.workdir = ""
    teacher.config = get_teacher("teacher" + rest)
    # Drawn once, kept on the device; the oracle sees them instead of data.
    pool = 1000 if "smoke" in words else 200_000
    teacher.samples = pool if chosen == ["oracle"] else 0
    teacher.share = 1.0 if chosen == ["oracle"] else 0.5

    config.loss = loss = ConfigDict()
    loss.method = chosen[0]
    loss.transfer = transfer = ConfigDict()
    transfer.distance = "l2"  # l1, l2, mixed
    transfer.reduction = "mean"  # over dimensions, or sum
    transfer.temperature = 1.0  # of the latents that the student decodes
    transfer.path = False  # the path derivative of the reverse KL
    transfer.noise = 0.0  # standard deviation, added to encodings
    # Fraction by x-reconstruction before kl or z. Without it the teacher gives the
    # first samples on patches -1e20 nats, whose gradient overflows.
    transfer.warm = 0.25
    # The teacher's samples beyond this multiple of the data's largest |x| are out.
    loss.skd = ConfigDict({"reach": 3.0})

    config.study.methods = METHODS
    config.study.recipes = ConfigDict(
        {
            method: {
                "loss/method": method,
                "teacher/samples": pool if method == "oracle" else 0,
                "teacher/share": 1.0 if method == "oracle" else 0.5,
            }
            for method in METHODS
        }
    )
    return config
