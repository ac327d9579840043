"""NICE: additive couplings and one diagonal scaling."""

from fdnf.bijectors.actnorm import Scaling
from fdnf.bijectors.combinators import Chain
from fdnf.bijectors.coupling import Coupling
from fdnf.flows.base import StackFlow
from fdnf.nets.mlp import MLP


class NICE(StackFlow):
    """Additive couplings over alternating partitions, then a scaling.

    Volume is kept by all layers but the last. Levels are the outputs of the
    couplings and of the scaling.

    Args:
      steps: number of couplings, at least 3 for every dimension to move each other.
      hidden: hidden widths of the coupling networks.
      activation: of the coupling networks.

    Reference: Dinh et al. (2015), section 3.
    """

    steps: int = 4
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"

    def _stack(self) -> Chain:
        couplings = tuple(
            Coupling(
                MLP(tuple(self.hidden), self.activation, output_scale=0.05),
                transform="additive",
                partition="alternating",
                swap=bool(i % 2),
            )
            for i in range(self.steps)
        )
        return Chain((*couplings, Scaling()))
