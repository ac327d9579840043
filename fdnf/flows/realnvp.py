"""RealNVP on vectors."""

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.combinators import Chain, Repeat
from fdnf.bijectors.coupling import Coupling
from fdnf.flows.base import StackFlow
from fdnf.nets.mlp import MLP


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

    steps: int = 4
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    unroll: int | None = None

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
