"""Masked autoregressive flow and its inverse."""

from typing import Any, ClassVar

import jax.numpy as jnp

from fdnf.bijectors.autoregressive import MADE, MaskedAffine
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Invert, Repeat, Reverse
from fdnf.flows.base import Latents, StackFlow
from fdnf.ops.entering import Ints, Made
from fdnf.types import Context, Events


class MAF(StackFlow):
    """K blocks of a MADE with alternating order; densities in one pass.

    Levels are the block outputs, and they and `z` are given in the order of the data:
    each block reverses the order for the next one, and that is undone in what is
    reported. Otherwise every other level (and the latents of a student with an odd
    and a teacher with an even number of blocks) would be compared back to front.

    Args:
      steps: number of blocks, K.
      hidden: hidden widths of each MADE.
      activation: of each MADE.
      bound: largest |log-scale| of a block.
      inverse: method of the sequential direction, see `autoregressive_inverse`.
      tolerance: of the iterative methods.
      unroll: see `Repeat`.

    Reference: Papamakarios et al. (2017).
    """

    takes_statistics: ClassVar[bool] = True

    steps: int = 5
    hidden: Ints = (32, 32)
    activation: str = "relu"
    bound: float = 5.0
    inverse: str = "auto"
    tolerance: float = 1e-5
    unroll: int | None = None

    event_axes = ("dim",)

    def _made_with(self, params: Any) -> Made | None:
        first = params["stack"]["step"]["parts_0"]
        made = first.get("bijector", first)["made"]
        cond = made.get("context_kernel")
        dim = made["dense_0_kernel"].shape[-2]
        return Made((dim,), None if cond is None else (cond.shape[-2],))

    def _masked_affine(self) -> Bijector:
        return MaskedAffine(
            MADE(tuple(self.hidden), self.activation),
            bound=self.bound,
            method=self.inverse,
            tolerance=self.tolerance,
        )

    def _stack(self) -> Repeat:
        step = Chain((self._masked_affine(), Reverse()))
        return Repeat(step, self.steps, self.unroll)

    def _levels_in_data_order(self, levels: Latents) -> Latents:
        return tuple(
            jnp.flip(level, -1) if i % 2 == 0 else level
            for i, level in enumerate(levels)
        )

    def _latent_in_data_order(self, z: Events) -> Events:
        return jnp.flip(z, -1) if self.steps % 2 else z

    def _encode(self, x: Events, cond: Context | None):
        z, log_det, levels = self.stack.trace(x, cond)
        return (
            (self._latent_in_data_order(z),),
            log_det,
            self._levels_in_data_order(levels),
        )

    def _decode(self, z: Latents, cond: Context | None):
        x, log_det, levels = self.stack.trace_inverse(
            self._latent_in_data_order(z[0]), cond
        )
        return x, log_det, self._levels_in_data_order(levels)


class IAF(MAF):
    """Inverse autoregressive flow: samples in one pass, densities by K inversions.

    MAF with each block inverted, and nothing more.

    Reference: Kingma et al. (2016).
    """

    takes_statistics: ClassVar[bool] = False

    def _masked_affine(self) -> Bijector:
        return Invert(super()._masked_affine())
