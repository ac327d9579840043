from .base import Student as Student
from .resnet import ResNet as ResNet
from .rrdb import RRDBNet as RRDBNet
from .srflow import SRFlowStudent as SRFlowStudent
from .wave import (
    WaveAffineStudent as WaveAffineStudent,
    WaveFlowStudent as WaveFlowStudent,
    WaveNetStudent as WaveNetStudent,
    WaveStudent as WaveStudent,
    WaveWideFlowStudent as WaveWideFlowStudent,
)
