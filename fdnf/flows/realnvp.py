"""RealNVP, on vectors and on images."""

from typing import Any, ClassVar

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Repeat, Squeeze
from fdnf.bijectors.coupling import Coupling
from fdnf.flows import base
from fdnf.flows.base import StackFlow
from fdnf.flows.multiscale import MultiScale
from fdnf.nets.conv import ConvResNet
from fdnf.nets.mlp import MLP
from fdnf.ops.entering import Ints, Made


class RealNVP(StackFlow):
    """Steps of an activation norm and two affine couplings over alternating masks.

    The activation norm stands where the paper has batch normalization, whose
    densities depend on the batch. The log-scale is a bounded tanh. Levels are the
    outputs of the steps.

    Args:
      steps: number of steps; each moves every dimension once.
      hidden: hidden widths of the coupling networks.
      activation: of the coupling networks.
      unroll: see `Repeat`.

    Reference: Dinh et al. (2017), sections 3.2-3.4.
    """

    takes_statistics: ClassVar[bool] = True

    steps: int = 4
    hidden: Ints = (64, 64)
    activation: str = "relu"
    unroll: int | None = None

    event_axes = ("dim",)

    def _made_with(self, params: Any) -> Made | None:
        step = params["stack"]["step"]
        dim = step["parts_0"]["bias"].shape[-1]
        return Made((dim,), base.beside(step["parts_1"], dim))

    def _stack(self) -> Repeat:
        couplings = tuple(
            Coupling(
                MLP(tuple(self.hidden), self.activation, output_scale=0.05),
                log_scale="tanh",
                partition="alternating",
                swap=swap,
            )
            for swap in (False, True)
        )
        return Repeat(Chain((ActNorm(), *couplings)), self.steps, self.unroll)


class MultiScaleRealNVP(MultiScale):
    """RealNVP on images: checkerboard couplings, squeeze, channel couplings, split.

    The last level has checkerboard couplings alone. Each kind comes in `steps` pairs
    of opposite parts after an activation norm.

    Args:
      levels: scales; 2^(levels - 1) must divide height and width.
      steps: pairs of couplings of each kind.
      hidden: channels of the coupling networks.
      blocks: residual blocks of the coupling networks.
      learn_top: a learned Gaussian for the top latent instead of N(0, I).
      unroll: see `Repeat`.
      remat: see `Repeat`.

    Reference: Dinh et al. (2017), sections 3.4-3.6 and 4.1.
    """

    levels: int = 3
    steps: int = 2
    hidden: int = 32
    blocks: int = 2
    learn_top: bool = False
    unroll: int | None = 1
    remat: bool = True

    def _count(self) -> int:
        return self.levels

    def _squeezes(self, i: int) -> bool:
        return i < self.levels - 1

    def _learn_top(self) -> bool:
        return self.learn_top

    def _made_with(self, params: Any) -> Made | None:
        first = params["stacks_0"]
        step = first["parts_0" if self._squeezes(0) else "step"]
        step = step.get("step", step)
        channels = step["parts_0"]["bias"].shape[-1]
        cond = base.beside(step["parts_1"], channels)
        return Made((None, None, channels), cond)

    def _pairs(self, partition: str) -> Repeat:
        couplings = tuple(
            Coupling(
                ConvResNet(self.hidden, self.blocks),
                log_scale="tanh",
                partition=partition,
                swap=swap,
            )
            for swap in (False, True)
        )
        step = Chain((ActNorm(), *couplings))
        return Repeat(step, self.steps, self.unroll, self.remat)

    def _level(self, i: int) -> Bijector:
        if not self._squeezes(i):
            return self._pairs("checkerboard")
        return Chain((self._pairs("checkerboard"), Squeeze(), self._pairs("half")))
