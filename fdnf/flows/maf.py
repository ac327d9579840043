"""Masked autoregressive flow and its inverse."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Array

from fdnf.bijectors import transformers
from fdnf.bijectors.actnorm import Elementwise
from fdnf.bijectors.autoregressive import MADE, MaskedAutoregressive
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Invert, Repeat, Reverse
from fdnf.bijectors.invertible_conv import LinearLU
from fdnf.bijectors.transformers import Transformer
from fdnf.flows.base import StackFlow
from fdnf.ops.entering import Ints, Made
from fdnf.types import Context, Events

MIXING = ("reverse", "lu")


class MAF(StackFlow):
    """K blocks of a MADE with alternating order; densities in one pass.

        variables = flow.init(key, x)  # x [batch, dim]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    Each block maps every column by a transformer, whose numbers a masked network makes
    of the columns before it: `MAF(transformer="spline")` is the autoregressive neural
    spline flow. A spline has a box, outside of which it is the identity: it wants
    standardised data, or an affine map before it,
    `transformer={"name": "compose", "parts": ("affine", "spline")}`.

    Levels are the block outputs, and they and `z` are given in the order of the data:
    each block reverses the order for the next one, and that is undone in what is
    reported. Otherwise every other level (and the latents of a student with an odd
    and a teacher with an even number of blocks) would be compared back to front. What
    linear maps mix is not undone.

    Args:
      steps: number of blocks, K.
      hidden: hidden widths of each MADE.
      activation: of each MADE.
      bound: largest |log-scale| of a block whose transformer is "affine", and of a
        linear map.
      transformer: of each element: "affine", "additive", "spline", or a mapping with
        its settings, {"name": "spline", "bins": 16, "box": 5.0}; a `Transformer`.
      marginal: None, or one more transformer after each block, whose numbers a column
        has for itself: the form of a heavy tail for few weights, and for no time in
        the sequential direction.
      mixing: between blocks: "reverse" of the order, or "lu", a learned linear map
        L U before each block, the identity at first, and the reversal.
      conditioner: of each MADE: "plain", or "residual", with `hidden` one width for
        each residual block, all equal.
      rank: None, or how many numbers per column each MADE makes, of which one small
        matrix makes those that the transformer takes.
      inverse: method of the sequential direction, see `autoregressive_inverse`.
      tolerance: of the iterative methods.
      unroll: see `Repeat`.
      embedding: widths of a network that a condition passes first, which all blocks
        share; None for the condition as it is.

    Reference: Papamakarios et al. (2017); Durkan et al. (2019), Neural spline flows.
    """

    takes_statistics: ClassVar[bool] = True

    steps: int = 5
    hidden: Ints = (32, 32)
    activation: str = "relu"
    bound: float = 5.0
    inverse: str = "auto"
    tolerance: float = 1e-5
    unroll: int | None = None
    transformer: Any = "affine"
    marginal: Any = None
    mixing: str = "reverse"
    conditioner: str = "plain"
    rank: int | None = None
    embedding: Ints | None = None

    event_axes = ("dim",)

    def __post_init__(self):
        for name in ("transformer", "marginal"):
            if isinstance(getattr(self, name), Mapping):
                setattr(self, name, transformers.make(getattr(self, name)))
        self._transformer()
        if self.marginal is not None:
            transformers.make(self.marginal)
        if self.mixing not in MIXING:
            raise ValueError(
                f"{type(self).__name__}: mixing is {self.mixing!r}, expected one of "
                f"{MIXING}"
            )
        super().__post_init__()

    def _made_with(self, params: Any) -> Made | None:
        block = params["stack"]["step"][f"parts_{self._masked_part}"]
        made = block.get("bijector", block)["made"]
        cond = made.get("context_kernel")
        dim = made["dense_0_kernel"].shape[-2]
        return Made((dim,), None if cond is None else (cond.shape[-2],))

    @property
    def _masked_part(self) -> int:
        """Which part of a step is the masked one."""
        return 1 if self.mixing == "lu" else 0

    def _transformer(self) -> Transformer:
        if self.transformer == "affine":
            return transformers.Affine(self.bound)
        return transformers.make(self.transformer)

    def _masked(self) -> Bijector:
        transformer = self._transformer()
        made = MADE(
            tuple(self.hidden),
            self.activation,
            transformer.outputs,
            conditioner=self.conditioner,
            rank=self.rank,
        )
        return MaskedAutoregressive(
            made, transformer, method=self.inverse, tolerance=self.tolerance
        )

    def _marginals(self) -> tuple[Bijector, ...]:
        if self.marginal is None:
            return ()
        return (Elementwise(transformers.make(self.marginal)),)

    def _stack(self) -> Repeat:
        linear = (LinearLU(self.bound),) if self.mixing == "lu" else ()
        step = Chain((*linear, self._masked(), *self._marginals(), Reverse()))
        return Repeat(step, self.steps, self.unroll)

    def _reverses(self) -> bool:
        return True

    def _block_parameters(self, x: Events, cond: Context | None) -> tuple[Array, ...]:
        found = super()._block_parameters(x, cond)
        return tuple(self._in_data_order(raw, i) for i, raw in enumerate(found))


class IAF(MAF):
    """Inverse autoregressive flow: samples in one pass, densities by K inversions.

        variables = flow.init(key, x)  # x [batch, dim]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    MAF with each block inverted, and nothing more.

    Reference: Kingma et al. (2016).
    """

    takes_statistics: ClassVar[bool] = False

    def _masked(self) -> Bijector:
        return Invert(super()._masked())
