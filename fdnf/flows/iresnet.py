"""Invertible residual networks, on vectors and on images."""

from typing import Any, ClassVar

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.base import Bijector, Report, joined
from fdnf.bijectors.combinators import Chain, Repeat, Squeeze
from fdnf.bijectors.residual import Residual
from fdnf.flows.base import StackFlow
from fdnf.flows.multiscale import MultiScale
from fdnf.ops import conditions
from fdnf.ops.entering import Ints, Made
from fdnf.types import BlockKind, Decoding, Given

# Of `Residual`, but for its widths; flows hand them on.
SETTINGS = (
    *("activation", "bound", "log_det", "exact", "terms", "probes", "sure", "chance"),
    *("tolerance", "limit"),
)


def _step(flow: Any, hidden: Ints) -> Chain:
    settings = {name: getattr(flow, name) for name in SETTINGS}
    return Chain((ActNorm(), Residual(hidden, **settings)))


def _condition(residual: Any) -> tuple[int, ...] | None:
    kernel = residual.get("context_kernel")
    return None if kernel is None else (kernel.shape[-2],)


class IResNet(StackFlow):
    """K blocks of an activation norm and a residual layer y = x + g(x), on vectors.

        variables = flow.init(key, x)  # x [batch, dim]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    Any network g whose Lipschitz constant is below 1 makes an invertible layer, in
    which all dimensions see each other. Densities take one pass and a log-determinant,
    which is exact up to `exact` dimensions; samples a fixed-point iteration in each
    layer, of which `decode_with_report` says how many steps it took and what it left.
    Beyond `exact` dimensions a density without a key is approximate: several nats off
    where 8 probes stand for 63 dimensions of a trained flow. With keys it is right on
    average.

    Training by likelihood draws an unbiased estimate of the log-determinant in each
    step where that is cheaper: the loss is given a key (`losses.nll(..., key=key)`, and
    the trainer does so by itself). By hand it is `rngs={"probes": key}` of
    `flow.apply`.

    Levels are the outputs of the blocks.

    Args:
      steps: number of blocks, K.
      hidden: hidden widths of each g.
      activation: "lipswish", "elu", "softplus" or "tanh".
      bound: largest Lipschitz constant of g. Closer to 1 a block can do more, and
        sampling and the power series take more steps.
      log_det: "auto", "exact" or "series", see `Residual`.
      exact: largest number of dimensions for which "auto" forms the Jacobian.
      terms: of the series, where no key is given.
      probes: of the series, where no key is given.
      sure: terms of the estimate that are always taken, where a key is given.
      chance: of each further one; None for one that suits the bound.
      tolerance: of the residual of each layer's inverse.
      limit: of the iterations of each layer.
      embedding: as of `RealNVP`.
      unroll: see `Repeat`.
      remat: see `Repeat`.

    Reference: Behrmann et al. (2019), "Invertible residual networks"; Chen et al.
    (2019), "Residual flows for invertible generative modeling".
    """

    takes_statistics: ClassVar[bool] = True
    estimates: ClassVar[bool] = True

    steps: int = 8
    hidden: Ints = (64, 64)
    activation: str = "lipswish"
    bound: float = 0.9
    log_det: str = "auto"
    exact: int = 64
    terms: int = 30
    probes: int = 8
    sure: int = 5
    chance: float | None = None
    tolerance: float = 1e-6
    limit: int = 500
    embedding: Ints | None = None
    unroll: int | None = 1
    remat: bool = False

    event_axes = ("dim",)

    def _made_with(self, params: Any) -> Made | None:
        step = params["stack"]["step"]
        dim = step["parts_0"]["bias"].shape[-1]
        return Made((dim,), _condition(step["parts_1"]))

    def block_kind(self) -> BlockKind:
        """Residual blocks, in no order."""
        return BlockKind(self.steps, ("residual",))

    def _stack(self) -> Repeat:
        step = _step(self, tuple(self.hidden))
        return Repeat(step, self.steps, self.unroll, self.remat)


class MultiScaleIResNet(MultiScale):
    """Levels of a squeeze, K blocks as those of `IResNet`, and a split, on images.

        variables = flow.init(key, x)  # x [batch, height, width, channels]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, height, width, channels), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    g is a 3x3, a 1x1 and a 3x3 convolution.

    Args:
      levels: L; 2^L must divide height and width.
      steps: K, of each level.
      hidden: channels of each g.
      learn_top: a learned Gaussian for the top latent instead of N(0, I).
      activation, bound, log_det, exact, terms, probes: as of `IResNet`.
      sure, chance, tolerance, limit, embedding: as of `IResNet`.
      unroll, remat: as of `IResNet`.

    A condition is one vector a row: it goes to all residual layers and to the prior of
    the top.

    Reference: Behrmann et al. (2019), section 5.2; splits are those of RealNVP and
    Glow.
    """

    estimates: ClassVar[bool] = True
    condition_axes = (conditions.VECTOR,)

    levels: int = 2
    steps: int = 8
    hidden: int = 64
    learn_top: bool = False
    activation: str = "lipswish"
    bound: float = 0.9
    log_det: str = "auto"
    exact: int = 64
    terms: int = 30
    probes: int = 8
    sure: int = 5
    chance: float | None = None
    tolerance: float = 1e-6
    limit: int = 500
    embedding: Ints | None = None
    unroll: int | None = 1
    remat: bool = True

    def _count(self) -> int:
        return self.levels

    def _squeezes(self, i: int) -> bool:
        return True

    def _learn_top(self) -> bool:
        return self.learn_top

    def _made_with(self, params: Any) -> Made | None:
        step = params["stacks_0"]["parts_1"]["step"]
        channels = step["parts_0"]["bias"].shape[-1]
        return Made((None, None, channels // 4), _condition(step["parts_1"]))

    def _level(self, i: int) -> Bijector:
        step = _step(self, (self.hidden, self.hidden))
        return Chain((Squeeze(), Repeat(step, self.steps, self.unroll, self.remat)))

    def decode_with_report(
        self, z: Given, cond: Given | None = None
    ) -> tuple[Decoding, Report]:
        """`decode`, with residual and iterations of every layer's inverse.

        Each level is inverted a second time, for its report.
        """
        latents = self._given_latents(z)
        cond = self._given_condition(cond, latents[0].shape[0])
        decoding = Decoding(*self._decode(latents, cond))
        reports = [
            stack.parts[1].inverse_with_report(level, cond)[2]
            for stack, level in zip(self.stacks, decoding.levels, strict=True)
        ]
        return decoding, joined(reports)
