"""NICE: additive couplings and one diagonal scaling."""

import math
from typing import Any

from jaxtyping import Array

from fdnf.bijectors.actnorm import Scaling
from fdnf.bijectors.combinators import Chain
from fdnf.bijectors.coupling import Coupling
from fdnf.flows import base
from fdnf.flows.base import Latents, StackFlow
from fdnf.nets.mlp import MLP
from fdnf.ops.entering import Ints, Made
from fdnf.types import Context, Events, Mapped


class NICE(StackFlow):
    """Additive couplings over alternating partitions, then a scaling.

        variables = flow.init(key, x)  # x [batch, ...]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, ...), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    Images are taken as vectors, in the order of rows, columns, channels; latents and
    levels have the shape of the data.

    Volume is kept by all layers but the last. Levels are the outputs of the
    couplings and of the scaling.

    Args:
      steps: number of couplings, at least 3 for every dimension to move each other.
      hidden: hidden widths of the coupling networks.
      activation: of the coupling networks.
      embedding: widths of a network that a vector condition passes first, which all
        couplings share; None for the condition as it is.

    Reference: Dinh et al. (2015), section 3.
    """

    steps: int = 4
    hidden: Ints = (64, 64)
    activation: str = "relu"
    embedding: Ints | None = None

    def _made_with(self, params: Any) -> Made | None:
        stack = params["stack"]
        (dim,) = stack[f"parts_{self.steps}"]["raw_log_scale"].shape
        return Made(dim, base.beside(stack["parts_0"], dim))

    def _stack(self) -> Chain:
        couplings = tuple(
            Coupling(
                MLP(tuple(self.hidden), self.activation, output_scale=0.05),
                transformer="additive",
                partition="alternating",
                swap=bool(i % 2),
            )
            for i in range(self.steps)
        )
        return Chain((*couplings, Scaling()))

    def _encode(self, x: Events, cond: Context | None):
        z, log_det, levels = self.stack.trace(_flat(x), cond)
        shaped = tuple(level.reshape(x.shape) for level in levels)
        return (z.reshape(x.shape),), log_det, shaped

    def _decode(self, z: Latents, cond: Context | None):
        shape = z[0].shape
        x, log_det, levels = self.stack.trace_inverse(_flat(z[0]), cond)
        shaped = tuple(level.reshape(shape) for level in levels)
        return x.reshape(shape), log_det, shaped

    def _block_parameters(self, x: Events, cond: Context | None) -> tuple[Array, ...]:
        return self.stack.parameters(_flat(x), cond)[1]


def _flat(x: Events) -> Mapped:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))
