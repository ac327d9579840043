"""Transformer autoregressive flow, and its inverse."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Array

from fdnf.bijectors import transformers
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Invert, Repeat
from fdnf.bijectors.token_autoregressive import ReverseTokens, TokenAutoregressive
from fdnf.bijectors.transformers import Transformer
from fdnf.flows import maf
from fdnf.flows.base import StackFlow
from fdnf.nets.causal_transformer import CausalTransformer
from fdnf.ops import tokens
from fdnf.ops.entering import Made
from fdnf.types import BlockKind, Context, Events


class TarFlow(StackFlow):
    """Blocks of a causal transformer over tokens; densities in one pass.

        variables = flow.init(key, x)  # x [batch, *event]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, *event), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    An event is an image (height, width, channels), which is cut into squares of `patch`
    by `patch` pixels in raster order, or a vector (dim,), into runs of `patch` columns.
    Each block maps every number of a token by a transformer of one element, whose
    numbers the network makes of the tokens before it, and reverses the order of the
    tokens for the next block. Levels are the block outputs; they and `z` have the shape
    of the data and the order of its tokens: the reversals are undone in what is
    reported.

    Beside the paper's: blocks start as maps that make a first batch standard, the first
    token of a block has a shift and a scale of its own, and a condition moves every
    token; log-scales are bounded.

    Args:
      blocks: how many, K.
      layers: of attention and MLP in each block's network.
      channels: of its stream.
      heads: of its attention, which divide the channels.
      patch: columns, or pixels of a side, of a token; it divides the event's.
      bound: largest |log-scale| of a block whose transformer is "affine".
      transformer: of each element: "affine", "additive", "spline", or a mapping with
        its settings; a `Transformer`. See `MAF`.
      inverse: method of the sequential direction, see `TokenAutoregressive`.
      segment: tokens that an inverse by iteration takes together; None for all.
      tolerance: of that inverse, and of gradients through the sequential direction.
      unroll: see `Repeat`.
      remat: see `Repeat`.

    Reference: Zhai et al. (2024), Normalizing flows are capable generative models.
    """

    takes_statistics: ClassVar[bool] = True

    blocks: int = 4
    layers: int = 2
    channels: int = 64
    heads: int = 4
    patch: int = 1
    bound: float = 5.0
    transformer: Any = "affine"
    inverse: str = "auto"
    segment: int | None = None
    tolerance: float = 1e-6
    unroll: int | None = None
    remat: bool = False

    def __post_init__(self):
        if transformers.inverts_affine(self.transformer):
            self.transformer = transformers.Inverse(transformers.Affine(self.bound))
        if isinstance(self.transformer, Mapping):
            self.transformer = transformers.make(self.transformer)
        self._transformer()
        super().__post_init__()

    def _transformer(self) -> Transformer:
        if self.transformer == "affine":
            return transformers.Affine(self.bound)
        return transformers.make(self.transformer)

    def _made_with(self, params: Any) -> Made | None:
        block = params["stack"]["step"]["parts_0"]
        net = block.get("bijector", block)["net"]
        cond = net.get("context_kernel")
        # Stacked by blocks; positions have the axes of the tokens' grid.
        _, *grid, _ = net["positions"].shape
        width, patch = net["first_kernel"].shape[-2], self.patch
        event = tuple(side * patch for side in grid)
        if len(grid) == 2:
            event = (*event, width // patch**2)
        return Made(event, None if cond is None else (cond.shape[-2],))

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """One latent, of the shape of the data.

        Raises:
          ValueError: for what is no vector and no image, or is not filled by patches.
        """
        try:
            tokens.grid(event, self.patch)
        except ValueError as error:
            raise ValueError(f"{self._name}: {error}") from None
        return (event,)

    def block_kind(self) -> BlockKind:
        """Blocks of the transformer over tokens, in alternating order."""
        order = ("tokens", f"patch {self.patch}", "reverse")
        return BlockKind(self.blocks, order, self._of_block())

    def _of_block(self) -> Transformer:
        """Map of one element by a block's network, from the data's side."""
        return self._transformer()

    def _causal(self) -> Bijector:
        return TokenAutoregressive(
            CausalTransformer(self.layers, self.channels, self.heads),
            self.patch,
            self._transformer(),
            self.inverse,
            self.segment,
            self.tolerance,
        )

    def _stack(self) -> Repeat:
        if self.blocks < 1:
            raise ValueError(f"blocks={self.blocks}: expected at least 1")
        step = Chain((self._causal(), ReverseTokens(self.patch)))
        return Repeat(step, self.blocks, self.unroll, self.remat)

    def _reverses(self) -> bool:
        return True

    def _turned(self, x: Array, leading: int) -> Array:
        return tokens.reverse(x, self.patch, x.ndim - leading)

    def _block_parameters(self, x: Events, cond: Context | None) -> tuple[Array, ...]:
        found = super()._block_parameters(x, cond)
        return tuple(self._in_data_order(raw, i, 2) for i, raw in enumerate(found))


class TarIAF(TarFlow):
    """The same blocks the other way round: samples in one pass.

        variables = flow.init(key, x)  # x [batch, *event]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, *event), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    TarFlow with each block inverted, and nothing more. `TarIAF.of(tarflow)` has a block
    for each of the teacher's that can be its exact inverse, and `losses.guided` trains
    it block by block.

    Reference: Zhai et al. (2024), for the blocks; Kingma et al. (2016).
    """

    @classmethod
    def of(cls, tarflow: TarFlow, **attributes: Any) -> "TarIAF":
        """A student with the blocks and orders of a teacher.

        Its transformer is the inverse of the teacher's, so that block k of it can be
        the exact inverse of the teacher's block k, and the raw numbers of both mean the
        same.

        Args:
          tarflow: the teacher.
          **attributes: of the student that are not the teacher's, such as wider
            networks.

        Raises:
          ValueError: for another number of blocks, other tokens, or no TarFlow.
        """
        if not isinstance(tarflow, TarFlow) or isinstance(tarflow, TarIAF):
            raise ValueError(
                f"TarIAF.of({type(tarflow).__name__}): expected a TarFlow, whose "
                "blocks a TarIAF's are the inverse of"
            )
        taken = maf.of_inverse(cls, tarflow, ("blocks", "patch"), attributes)
        return cls(**{**taken, **attributes})

    def _of_block(self) -> Transformer:
        return transformers.inverse_of(self._transformer())

    def _causal(self) -> Bijector:
        return Invert(super()._causal())
