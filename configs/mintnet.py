"""MintNet on images, as `mintnet_*.py`."""

from ml_collections import ConfigDict

from configs import common


def images(
    data: str, arg: str, teacher: dict, student: dict, more: tuple[str, ...] = ()
) -> ConfigDict:
    """MintNet on grey images.

    Args:
      data: name of the data set.
      arg: teacher or student; logit (a margin of 1e-6, as the paper); smoke.
      teacher: attributes of the teacher.
      student: attributes of the student.
      more: further words that the file knows.
    """
    known = ("teacher", "student", "smoke", "logit", *more)
    words = common.parse_arg(arg, known)
    config = common.images()
    config.data.name = data
    config.model.name = "mintnet"
    config.role = "student" if "student" in words else "teacher"
    config.model.args = ConfigDict(student if "student" in words else teacher)
    if "logit" in words:
        config.data.logit = 1e-6
    return common.smoke_images(config) if "smoke" in words else config
