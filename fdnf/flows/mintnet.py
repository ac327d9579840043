"""MintNet: masked convolutions of alternating order, inverted by fixed points."""

from typing import Any

import jax.numpy as jnp

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.base import Report, joined
from fdnf.bijectors.combinators import Chain, Repeat
from fdnf.bijectors.masked_conv import MaskedConv
from fdnf.flows.base import FlowModule, Latents
from fdnf.ops import squeeze
from fdnf.ops.entering import Ints, Made
from fdnf.types import Context, Decoding, Events, Given


class MintNet(FlowModule):
    """Levels of K pairs of masked convolutions, with a squeeze between levels.

        variables = flow.init(key, x)  # x [batch, height, width, channels]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, height, width, channels), method="sample")

    `fdnf.fit(flow, x)` trains one.

    A pair is a layer and one of the reverse order. Nothing is split off: there is one
    latent, of the size of the data. Levels are the outputs of the levels, the last one
    the latent. Densities take one pass, samples a fixed-point iteration in each layer;
    `decode_with_report` says how many steps and what was left.

    Args:
      levels: resolutions; 2^(levels - 1) must divide height and width.
      steps: pairs of each level, or a tuple of one number a level.
      hidden: units per channel of the first level; a squeeze, which makes 4 channels
        of one, divides it by 4.
      actnorm: an activation norm at the input.
      bound: largest |log t| of a layer.
      step: of the fixed-point inverse, the paper's 1 / eta.
      tolerance: of the residual of each layer's inverse.
      limit: of the iterations of each layer.
      patience: iterations without gain before the step is halved.
      unroll: see `Repeat`.
      remat: see `Repeat`.

    Reference: Song, Meng, Ermon (2019), MintNet, sections 3 and 4.2.
    """

    levels: int = 1
    steps: int | Ints = 4
    hidden: int = 32
    actnorm: bool = True
    bound: float = 3.0
    step: float = 1.0
    tolerance: float = 2e-7
    limit: int = 500
    patience: int | None = 20
    unroll: int | None = 1
    remat: bool = True

    condition_axes = ()

    def _made_with(self, params: Any) -> Made | None:
        slope = params["stacks_0"]["step"]["parts_0"]["raw_log_slope"]
        return Made(slope.shape[1:], None)

    def _depths(self) -> tuple[int, ...]:
        depths = self.steps
        if isinstance(depths, int):
            depths = (depths,) * self.levels
        if self.levels < 1 or len(depths) != self.levels or min(depths) < 1:
            raise ValueError(
                f"MintNet(levels={self.levels}, steps={self.steps}): expected at least "
                "one level, and one number of pairs, at least 1, or one a level"
            )
        return tuple(depths)

    def setup(self):
        """Makes the stacks."""
        if self.actnorm:
            self.norm = ActNorm()
        self.stacks = [self._stack(i, k) for i, k in enumerate(self._depths())]

    def _stack(self, level: int, length: int) -> Repeat:
        pair = tuple(
            MaskedConv(
                max(1, self.hidden // 4**level),
                mirrored,
                bound=self.bound,
                step=self.step,
                tolerance=self.tolerance,
                limit=self.limit,
                patience=self.patience,
            )
            for mirrored in (False, True)
        )
        return Repeat(Chain(pair), length, self.unroll, self.remat)

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """One latent of the last level's shape."""
        factor = 2 ** (self.levels - 1)
        if len(event) != 3 or any(side % factor for side in event[:2]):
            raise ValueError(
                f"MintNet of {self.levels} levels halves height and width "
                f"{self.levels - 1} times; data of shape {event} do not fit: expected "
                f"(height, width, channels) with sides that {factor} divides. Set "
                "model.args.levels accordingly"
            )
        height, width, channels = event
        return ((height // factor, width // factor, channels * factor**2),)

    def _encode(self, x: Events, cond: Context | None):
        h, log_det = x, jnp.zeros(x.shape[:1], x.dtype)
        if self.actnorm:
            h, log_det = self.norm.forward(h)
        levels = []
        for i, stack in enumerate(self.stacks):
            h, change = stack.forward(squeeze.squeeze(h) if i else h)
            log_det += change
            levels.append(h)
        return (h,), log_det, tuple(levels)

    def _decode(self, z: Latents, cond: Context | None):
        return self._with_report(z)[0][:3]

    def decode_with_report(self, z: Given) -> tuple[Decoding, Report]:
        """`decode`, with residual and iterations of every layer's inverse."""
        return self._with_report(self._given_latents(z))

    def _with_report(self, z: Latents) -> tuple[Decoding, Report]:
        (h,) = z
        log_det = jnp.zeros(h.shape[:1], h.dtype)
        levels, reports = [], []
        for i, stack in reversed(list(enumerate(self.stacks))):
            levels.append(h)
            h, change, report = stack.inverse_with_report(h)
            log_det += change
            reports.append(report)
            if i:
                h = squeeze.unsqueeze(h)
        if self.actnorm:
            h, change = self.norm.inverse(h)
            log_det += change
        report = joined(reports[::-1])
        return Decoding(h, log_det, tuple(reversed(levels))), report
