"""Glow on vectors: activation norm, a full linear map, a coupling; K times."""

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.combinators import Chain, Repeat
from fdnf.bijectors.coupling import Coupling
from fdnf.bijectors.invertible_conv import InvertibleConv, InvertibleConvPLU
from fdnf.flows.base import StackFlow
from fdnf.nets.mlp import MLP


class TabularGlow(StackFlow):
    """Glow of one level on vectors, as in the tabular experiments of Walton et al.

    The coupling network has six dense layers, ReLU after the first four and tanh
    before the last. Levels are the outputs of the steps.

    Args:
      steps: number of steps, K.
      hidden: width of the coupling networks.
      depth: hidden layers of the coupling networks.
      transform: "affine" or "additive".
      plu: the linear map in PLU form; the published counts are those of the full one.
      output_scale: start of the last layers, as a multiple of the usual one.
      unroll: see `Repeat`.

    Reference: Walton et al. (2023), section 4.2; Kingma and Dhariwal (2018).
    """

    steps: int = 3
    hidden: int = 32
    depth: int = 5
    transform: str = "affine"
    plu: bool = False
    output_scale: float = 0.05
    unroll: int | None = None

    def _stack(self) -> Repeat:
        net = MLP(
            (self.hidden,) * self.depth,
            last_activation="tanh",
            output_scale=self.output_scale,
        )
        step = Chain(
            (
                ActNorm(),
                InvertibleConvPLU() if self.plu else InvertibleConv(),
                Coupling(net, transform=self.transform),
            )
        )
        return Repeat(step, self.steps, self.unroll)
