"""Names in configs to feed-forward students."""

from typing import Any

from fdnf.ops import entering
from fdnf.students.base import Student
from fdnf.students.resnet import ResNet
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent
from fdnf.students.wave import (
    WaveAffineStudent,
    WaveFlowStudent,
    WaveNetStudent,
    WaveWideFlowStudent,
)

STUDENTS: dict[str, type[Student]] = {
    "resnet": ResNet,
    "rrdb": RRDBNet,
    "srflow_student": SRFlowStudent,
    "wavenet": WaveNetStudent,
    "wave_flow": WaveFlowStudent,
    "wave_wide_flow": WaveWideFlowStudent,
    "wave_affine": WaveAffineStudent,
}


def build(config: Any) -> Student:
    """The student that `config.name` and `config.args` describe.

    Args:
      config: the `model` section: `name`, a key of STUDENTS, and `args`, whose keys
        are the student's attributes, with the same names and no translation.

    Raises:
      ValueError: for an unknown name or attribute, with the known ones.
    """
    return entering.build(STUDENTS, config)
