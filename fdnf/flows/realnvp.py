"""RealNVP, on vectors and on images."""

from typing import Any, ClassVar

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Repeat, Reverse, Squeeze
from fdnf.bijectors.coupling import Coupling, of_coupling
from fdnf.bijectors.invertible_conv import InvertibleConvPLU
from fdnf.flows import base
from fdnf.flows.base import StackFlow
from fdnf.flows.multiscale import MultiScale
from fdnf.nets import mlp
from fdnf.nets.conv import ConvResNet
from fdnf.ops.entering import Ints, Made
from fdnf.types import BlockKind

PARTITIONS = ("alternating", "half")
MIXINGS = ("none", "reverse", "lu")


class RealNVP(StackFlow):
    """Steps of an activation norm and couplings, each of one part by the other.

        variables = flow.init(key, x)  # x [batch, dim]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    With `mixing="none"` a step has two couplings of opposite parts, so that it moves
    every dimension once. Otherwise it has one coupling, and what mixes the dimensions
    between steps: "reverse", their order, which is undone in levels and latents; or
    "lu", a learned linear map in PLU form that starts as a rotation.

    The activation norm stands where the paper has batch normalization, whose
    densities depend on the batch. The log-scale of affine couplings is a bounded tanh.
    Levels are the outputs of the steps.

    Neural spline flows of couplings are `transformer="spline"`, `partition="half"`,
    `mixing="lu"`, `conditioner="residual"`.

    Args:
      steps: number of steps.
      hidden: hidden widths of the coupling networks; of residual ones, one equal
        width a block.
      activation: of the coupling networks.
      unroll: see `Repeat`.
      transformer: "affine", "additive" or "spline", or a mapping with one of these as
        `name` and its settings, such as {"name": "spline", "bins": 8, "box": 3.0}.
      partition: "alternating" dimensions, or each a "half" of them.
      mixing: "none", "reverse" (of halves) or "lu".
      conditioner: coupling networks, "plain" or "residual", see `nets.mlp`.
      embedding: widths of a network that a vector condition passes first, which all
        couplings share; None for the condition as it is.

    Reference: Dinh et al. (2017), sections 3.2-3.4; Durkan et al. (2019), section 4.
    """

    takes_statistics: ClassVar[bool] = True

    steps: int = 4
    hidden: Ints = (64, 64)
    activation: str = "relu"
    unroll: int | None = None
    transformer: Any = "affine"
    partition: str = "alternating"
    mixing: str = "none"
    conditioner: str = "plain"
    embedding: Ints | None = None

    event_axes = ("dim",)

    def __post_init__(self):
        for name, known in (("partition", PARTITIONS), ("mixing", MIXINGS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"RealNVP({name}={getattr(self, name)!r}): expected one of {known}"
                )
        if (self.partition, self.mixing) == ("alternating", "reverse"):
            raise ValueError(
                'RealNVP(partition="alternating", mixing="reverse"): the reverse of an '
                "odd number of dimensions moves the same ones in every step; expected "
                'partition="half", or mixing="none" or "lu"'
            )
        self.transformer = of_coupling(self.transformer, log_scale="tanh")
        super().__post_init__()

    def _made_with(self, params: Any) -> Made | None:
        step = params["stack"]["step"]
        dim = step["parts_0"]["bias"].shape[-1]
        coupling = step["parts_2" if self.mixing == "lu" else "parts_1"]
        seen = dim if self.partition == "alternating" else dim // 2
        return Made((dim,), base.beside(coupling, seen))

    def block_kind(self) -> BlockKind:
        """Blocks of an activation norm and one or two couplings."""
        return BlockKind(self.steps, ("coupling", self.partition, self.mixing))

    def _reverses(self) -> bool:
        return self.mixing == "reverse"

    def _coupling(self, swap: bool = False) -> Coupling:
        net = mlp.conditioner(
            self.conditioner, tuple(self.hidden), self.activation, output_scale=0.05
        )
        return Coupling(net, self.transformer, partition=self.partition, swap=swap)

    def _stack(self) -> Repeat:
        if self.mixing == "none":
            parts = (self._coupling(False), self._coupling(True))
        elif self.mixing == "lu":
            parts = (InvertibleConvPLU(), self._coupling())
        else:
            parts = (self._coupling(), Reverse())
        return Repeat(Chain((ActNorm(), *parts)), self.steps, self.unroll)


class MultiScaleRealNVP(MultiScale):
    """RealNVP on images: checkerboard couplings, squeeze, channel couplings, split.

        variables = flow.init(key, x)  # x [batch, height, width, channels]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, height, width, channels), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    The last level has checkerboard couplings alone. Each kind comes in `steps` pairs
    of opposite parts after an activation norm. Conditions are as those of `Glow`.

    Args:
      levels: scales; 2^(levels - 1) must divide height and width.
      steps: pairs of couplings of each kind.
      hidden: channels of the coupling networks.
      blocks: residual blocks of the coupling networks.
      learn_top: a learned Gaussian for the top latent instead of N(0, I).
      unroll: see `Repeat`.
      remat: see `Repeat`.
      transformer: as of `RealNVP`.
      embedding: as of `RealNVP`; of vector conditions.

    Reference: Dinh et al. (2017), sections 3.4-3.6 and 4.1.
    """

    levels: int = 3
    steps: int = 2
    hidden: int = 32
    blocks: int = 2
    learn_top: bool = False
    unroll: int | None = 1
    remat: bool = True
    transformer: Any = "affine"
    embedding: Ints | None = None

    def __post_init__(self):
        self.transformer = of_coupling(self.transformer, log_scale="tanh")
        super().__post_init__()

    def _count(self) -> int:
        return self.levels

    def _squeezes(self, i: int) -> bool:
        return i < self.levels - 1

    def _learn_top(self) -> bool:
        return self.learn_top

    def _first_halved(self) -> int:
        return 0

    def _coupling_params(self, params: Any, i: int) -> tuple[Any, int]:
        first = params[f"stacks_{i}"]
        step = first["parts_0" if self._squeezes(i) else "step"]
        step = step.get("step", step)
        return step["parts_1"], step["parts_0"]["bias"].shape[-1]

    def _made_with(self, params: Any) -> Made | None:
        coupling, channels = self._coupling_params(params, 0)
        return Made((None, None, channels), base.beside(coupling, channels))

    def _pairs(self, partition: str) -> Repeat:
        couplings = tuple(
            Coupling(
                ConvResNet(self.hidden, self.blocks),
                self.transformer,
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
