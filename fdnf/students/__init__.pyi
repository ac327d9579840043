from .base import Student as Student
from .resnet import ResNet as ResNet
from .rrdb import RRDBNet as RRDBNet
from .srflow import SRFlowStudent as SRFlowStudent
from .wave import WaveStudent as WaveStudent
from .wave_ablation import (
    WaveAffineStudent as WaveAffineStudent,
    WaveFlowStudent as WaveFlowStudent,
    WaveWideFlowStudent as WaveWideFlowStudent,
)
from .wavenet import WaveNetStudent as WaveNetStudent
