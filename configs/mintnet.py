"""MintNet on images, as `mintnet_*.py`."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import common

WORDS = (common.Choice(("teacher", "student")), common.Choice(("logit",)), common.SMOKE)


def images(
    data: str,
    words: set[str],
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    keys: Mapping[str, Any],
) -> ConfigDict:
    """MintNet on grey images.

    Args:
      data: name of the data set.
      words: teacher or student; logit (a margin of 1e-6, as the paper); smoke.
      teacher: attributes of the teacher.
      student: attributes of the student.
      keys: of the config, where it is not smoke.
    """
    config = common.images()
    config.data.name = data
    config.model.name = "mintnet"
    config.role = "student" if "student" in words else "teacher"
    config.model.args = ConfigDict(student if "student" in words else teacher)
    if "logit" in words:
        config.data.logit = 1e-6
    if "smoke" in words:
        return common.smoke_images(config)
    return common.set_keys(config, keys)
