"""Glow: activation norm, an invertible linear map, a coupling; K times a level."""

from typing import Any, ClassVar

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Repeat, Squeeze
from fdnf.bijectors.coupling import Coupling, of_coupling
from fdnf.bijectors.invertible_conv import FoldedConv, InvertibleConv, InvertibleConvPLU
from fdnf.flows import base
from fdnf.flows.base import StackFlow
from fdnf.flows.multiscale import MultiScale
from fdnf.nets import mlp
from fdnf.nets.conv import ConvBlock, check_dtype
from fdnf.ops.entering import Ints, Made
from fdnf.types import BlockKind


class TabularGlow(StackFlow):
    """Glow of one level on vectors, as in the tabular experiments of Walton et al.

        variables = flow.init(key, x)  # x [batch, dim]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    The coupling network has six dense layers, ReLU after the first four and tanh
    before the last. Levels are the outputs of the steps.

    Args:
      steps: number of steps, K.
      hidden: width of the coupling networks.
      depth: hidden layers of the coupling networks, or residual blocks.
      transformer: "affine", "additive" or "spline", or a mapping with one of these as
        `name` and its settings, such as {"name": "spline", "bins": 8, "box": 3.0}.
      plu: the linear map in PLU form; the published counts are those of the full one.
      output_scale: start of the last layers, as a multiple of the usual one.
      unroll: see `Repeat`.
      conditioner: coupling networks, "plain" or "residual", see `nets.mlp`.
      embedding: as of `RealNVP`.

    Reference: Walton et al. (2023), section 4.2; Kingma and Dhariwal (2018).
    """

    takes_statistics: ClassVar[bool] = True

    steps: int = 3
    hidden: int = 32
    depth: int = 5
    transformer: Any = "affine"
    plu: bool = False
    output_scale: float = 0.05
    unroll: int | None = None
    conditioner: str = "plain"
    embedding: Ints | None = None

    event_axes = ("dim",)

    def __post_init__(self):
        self.transformer = of_coupling(self.transformer)
        super().__post_init__()

    def _made_with(self, params: Any) -> Made | None:
        step = params["stack"]["step"]
        dim = step["parts_0"]["bias"].shape[-1]
        return Made((dim,), base.beside(step["parts_2"], dim // 2))

    def block_kind(self) -> BlockKind:
        """Blocks of an activation norm, a full linear map and a coupling."""
        return BlockKind(self.steps, ("coupling", "half", "linear"))

    def _stack(self) -> Repeat:
        net = mlp.conditioner(
            self.conditioner,
            (self.hidden,) * self.depth,
            last_activation="tanh",
            output_scale=self.output_scale,
        )
        step = Chain(
            (
                ActNorm(),
                InvertibleConvPLU() if self.plu else InvertibleConv(),
                Coupling(net, self.transformer),
            )
        )
        return Repeat(step, self.steps, self.unroll)


class Glow(MultiScale):
    """Glow on images: per level a squeeze, K steps and a split.

        variables = flow.init(key, x)  # x [batch, height, width, channels]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, height, width, channels), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    A step is an activation norm, an invertible 1x1 convolution and a coupling over
    halves of the channels. Steps are one loop (see `Repeat`), so a deep level
    compiles as fast as a shallow one.

    Args:
      levels: L; 2^L must divide height and width.
      steps: K, of each level.
      hidden: channels of the coupling networks.
      transformer: as of `TabularGlow`.
      plu: the 1x1 convolutions in PLU form, 2 C^2 + C weights, as published.
      learn_top: a learned Gaussian for the top latent instead of N(0, I).
      dtype: of the coupling networks' arithmetic, "float32" or "bfloat16"; all else
        is float32 in any case.
      floor: smallest scale of the couplings.
      folded: parameters are those of `surgery.fold`, made for sampling.
      unroll: see `Repeat`.
      remat: see `Repeat`; also faster on CPU, which is bound by memory here.
      embedding: as of `RealNVP`; of vector conditions.

    A condition is one vector a row, such as a class: it goes to all couplings and to
    the prior of the top. Or it is images, as large as the data, or by a power of 2
    larger or smaller, down to the size of the last level; they go to the couplings of
    all levels, and not to the prior.

    Reference: Kingma and Dhariwal (2018), figure 2; Walton et al. (2023), table 5.
    """

    levels: int = 3
    steps: int = 8
    hidden: int = 64
    transformer: Any = "affine"
    plu: bool = True
    learn_top: bool = False
    dtype: str = "float32"
    floor: float = 1e-3
    folded: bool = False
    unroll: int | None = 1
    remat: bool = True
    embedding: Ints | None = None

    def __post_init__(self):
        check_dtype("Glow", self.dtype)
        made = of_coupling(self.transformer)
        # A name stays one: what "affine" is, `floor` says.
        if not isinstance(self.transformer, str):
            self.transformer = made
        super().__post_init__()

    def _count(self) -> int:
        return self.levels

    def _squeezes(self, i: int) -> bool:
        return True

    def _learn_top(self) -> bool:
        return self.learn_top

    def _coupling_params(self, params: Any, i: int) -> tuple[Any, int]:
        step = params[f"stacks_{i}"]["parts_1"]["step"]
        channels = step["parts_0"]["bias"].shape[-1]
        return step["parts_1" if self.folded else "parts_2"], channels // 2

    def _made_with(self, params: Any) -> Made | None:
        channels = params["stacks_0"]["parts_1"]["step"]["parts_0"]["bias"].shape[-1]
        cond = base.beside(*self._coupling_params(params, 0))
        return Made((None, None, channels // 4), cond)

    def _level(self, i: int) -> Bijector:
        dtype = None if self.dtype == "float32" else self.dtype
        net = ConvBlock(self.hidden, norm=not self.folded, dtype=dtype)
        coupling = Coupling(net, self.transformer, floor=self.floor)
        if self.folded:
            linear = (FoldedConv(),)
        else:
            linear = (ActNorm(), InvertibleConvPLU() if self.plu else InvertibleConv())
        step = Chain((*linear, coupling))
        return Chain((Squeeze(), Repeat(step, self.steps, self.unroll, self.remat)))
