"""Masked autoregressive flow and its inverse."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
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
from fdnf.types import BlockKind, Context, Events, Variables

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
        {"name": "inverse", "of": ...} is another one's inverse.
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
      folded: parameters are those of `surgery.fold`, made for sampling.

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
    folded: bool = False

    event_axes = ("dim",)

    def __post_init__(self):
        if transformers.inverts_affine(self.transformer):
            self.transformer = transformers.Inverse(transformers.Affine(self.bound))
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
        step = params["stack"]["apart_0" if self.folded else "step"]
        block = step[f"parts_{self._masked_part}"]
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

    def block_kind(self) -> BlockKind:
        """Blocks of the transformer, in alternating order, mixed or not."""
        return BlockKind(self.steps, ("masked", self.mixing), self._of_block())

    def _of_block(self) -> Transformer | None:
        """Map of one element by a block's network, from the data's side."""
        return self._transformer()

    def _masked(self) -> Bijector:
        transformer = self._transformer()
        made = MADE(
            tuple(self.hidden),
            self.activation,
            transformer.outputs,
            conditioner=self.conditioner,
            rank=self.rank,
            folded=self.folded,
        )
        return MaskedAutoregressive(
            made, transformer, method=self.inverse, tolerance=self.tolerance
        )

    def _marginals(self) -> tuple[Bijector, ...]:
        if self.marginal is None:
            return ()
        return (Elementwise(transformers.make(self.marginal)),)

    def _stack(self) -> Repeat:
        apart = [self._step() for _ in range(self.steps)] if self.folded else []
        return Repeat(self._step(), self.steps, self.unroll, apart=tuple(apart))

    def _step(self) -> Bijector:
        linear = (LinearLU(self.bound),) if self.mixing == "lu" else ()
        return Chain((*linear, self._masked(), *self._marginals(), Reverse()))

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

    MAF with each block inverted, and nothing more. `IAF.of(maf)` has a block for each
    of the teacher's that can be its exact inverse, and `losses.guided` trains it block
    by block.

    Reference: Kingma et al. (2016).
    """

    takes_statistics: ClassVar[bool] = False

    @classmethod
    def of(cls, maf: MAF, *, hidden: Ints | None = None, **attributes: Any) -> "IAF":
        """A student with the blocks and orders of a teacher.

        Its transformer is the inverse of the teacher's, so that block k of it can be
        the exact inverse of the teacher's block k, and the raw numbers of both mean the
        same. What the two share by construction, `taken_over` copies.

        Args:
          maf: the teacher.
          hidden: widths of the student's networks; None for the teacher's.
          **attributes: others of the student that are not the teacher's.

        Raises:
          ValueError: for another number of blocks, another mixing, or no MAF.
        """
        if not isinstance(maf, MAF) or isinstance(maf, IAF):
            raise ValueError(
                f"IAF.of({type(maf).__name__}): expected a MAF, whose blocks an IAF's "
                "are the inverse of"
            )
        taken = of_inverse(cls, maf, ("steps", "mixing"), attributes)
        # Of its own parameters, which nobody has masked.
        taken["folded"] = False
        if hidden is not None:
            taken["hidden"] = hidden
        return cls(**{**taken, **attributes})

    def taken_over(
        self, variables: Variables, teacher_variables: Variables
    ) -> Variables:
        """The student's variables with the teacher's where both are the same map.

        That is all but the masked networks: linear maps, marginals, the embedding.

        Args:
          variables: the student's, as `init` gives them.
          teacher_variables: those of the MAF that it was made `of`.

        Raises:
          ValueError: if the teacher has no such parameters.
        """
        own, other = variables["params"], teacher_variables["params"]
        masked = f"parts_{self._masked_part}"

        def shared(params: Any) -> dict[str, Any]:
            step = params["stack"]["step"]
            found = {name: part for name, part in step.items() if name != masked}
            return {**found, "embedder": params.get("embedder", {})}

        mine, theirs = shared(own), shared(other)
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (mine, theirs)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "IAF.taken_over: the student shares parameters of shapes "
                f"{shapes[0]}, the teacher has {shapes[1]}; make the student with "
                "IAF.of(teacher)"
            )
        embedder = theirs.pop("embedder")
        step = {**own["stack"]["step"], **theirs}
        params = {**own, "stack": {**own["stack"], "step": step}}
        if embedder:
            params["embedder"] = embedder
        return {**variables, "params": params}

    def _of_block(self) -> Transformer:
        return transformers.inverse_of(self._transformer())

    def _masked(self) -> Bijector:
        return Invert(super()._masked())


def of_inverse(
    kind: type, teacher: Any, alike: tuple[str, ...], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Attributes of a student whose blocks can be the inverses of a teacher's.

    Args:
      kind: class of the student.
      teacher: a flow of blocks with one transformer, whose attributes it has.
      alike: those that decide what the blocks are, and in which order.
      given: attributes of the student that are said.

    Returns:
      The teacher's attributes, with the inverse of its transformer.

    Raises:
      ValueError: where one of `alike` is given, and is another.
    """
    for name in alike:
        own, asked = getattr(teacher, name), given.get(name)
        if asked not in (None, own):
            said, of = f"{name}={asked!r}", type(teacher).__name__.lower()
            raise ValueError(
                f"{kind.__name__}.of({of}, {said}): the teacher has {own!r}, and a "
                "student with other blocks cannot be its inverse block by block; "
                f"leave {name} out, or make it with {kind.__name__}({said}, ...) and "
                "train it by losses of its ends"
            )
    names = {field.name for field in dataclasses.fields(teacher)} - {"parent", "name"}
    taken = {name: getattr(teacher, name) for name in names}
    taken["transformer"] = transformers.inverse_of(teacher._transformer())
    return taken
