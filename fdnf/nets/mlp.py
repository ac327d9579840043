"""Multilayer perceptrons, the conditioners of coupling layers on vectors."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import conditioners, entering
from fdnf.ops.entering import Ints


class MLP(nn.Module):
    """Dense layers with an activation between them.

    Args:
      hidden: width of each hidden layer.
      activation: name of the activation after each hidden layer but the last.
      last_activation: name of the activation after the last hidden layer.
      output_scale: the last kernel starts as this multiple of its usual
        initialisation; 0 makes the output start at 0.
    """

    hidden: Ints
    activation: str = "relu"
    last_activation: str | None = None
    output_scale: float = 1.0

    def __post_init__(self):
        entering.make_hashable(self)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch inputs"],
        features: int,
        cond: Float[Array, "batch context"] | None = None,
    ) -> Float[Array, "batch features"]:
        """Maps `x`, with `cond` beside it if given, to `features` outputs."""
        h = x if cond is None else jnp.concatenate([x, cond], axis=-1)
        for i, width in enumerate(self.hidden):
            h = nn.Dense(width, name=f"dense_{i}")(h)
            last = i == len(self.hidden) - 1
            name = (last and self.last_activation) or self.activation
            h = conditioners.activation(name)(h)
        return _output(features, self.output_scale)(h)


class ResidualMLP(nn.Module):
    """A dense layer, residual blocks of two, and a dense layer.

    h_0 = W x, h_{k+1} = h_k + B_k f(A_k f(h_k)) with f the activation, and the output
    is linear in the last h. Each B_k starts near 0, so that blocks start as nothing.

    Args:
      hidden: one width a block, all equal, which is that of every h.
      activation: name of f.
      output_scale: as of `MLP`.

    Reference: Durkan et al. (2019), Neural spline flows, appendix B; He et al. (2016).
    """

    hidden: Ints
    activation: str = "relu"
    output_scale: float = 1.0

    def __post_init__(self):
        entering.make_hashable(self)
        if len(set(self.hidden)) != 1:
            raise ValueError(
                f"ResidualMLP(hidden={tuple(self.hidden)}): expected one width a "
                "block, all equal, such as (64, 64)"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch inputs"],
        features: int,
        cond: Float[Array, "batch context"] | None = None,
    ) -> Float[Array, "batch features"]:
        """Maps `x`, with `cond` beside it if given, to `features` outputs."""
        function = conditioners.activation(self.activation)
        h = x if cond is None else jnp.concatenate([x, cond], axis=-1)
        h = nn.Dense(self.hidden[0], name="dense_0")(h)
        near_0 = nn.initializers.variance_scaling(1e-4, "fan_in", "truncated_normal")
        for i, width in enumerate(self.hidden):
            r = nn.Dense(width, name=f"a_{i}")(function(h))
            h += nn.Dense(width, kernel_init=near_0, name=f"b_{i}")(function(r))
        return _output(features, self.output_scale)(h)


def _output(features: int, scale: float) -> nn.Dense:
    init = nn.initializers.variance_scaling(
        max(scale, 0.0) ** 2 or 1.0, "fan_in", "truncated_normal"
    )
    if scale == 0.0:
        init = nn.initializers.zeros
    return nn.Dense(features, kernel_init=init, name="output")


class Embedding(nn.Module):
    """Features of a condition: dense layers, each with an activation after it.

    Args:
      widths: of the layers; the last one is that of the features.
      activation: name of the activation.
    """

    widths: Ints
    activation: str = "silu"

    @nn.compact
    def __call__(
        self, cond: Float[Array, "batch context"]
    ) -> Float[Array, "batch features"]:
        """Maps conditions to features."""
        for i, width in enumerate(self.widths):
            cond = nn.Dense(width, name=f"dense_{i}")(cond)
            cond = conditioners.activation(self.activation)(cond)
        return cond


CONDITIONERS = ("plain", "residual")


def conditioner(
    kind: str,
    hidden: tuple[int, ...],
    activation: str = "relu",
    last_activation: str | None = None,
    output_scale: float = 1.0,
) -> nn.Module:
    """The network of a coupling on vectors by its name.

    Args:
      kind: "plain", an `MLP`; or "residual", a `ResidualMLP`, which has no activation
        at its end.
      hidden: widths of the layers, or of the blocks.
      activation: of the network.
      last_activation: of a plain one, after its last hidden layer.
      output_scale: see `MLP`.

    Raises:
      ValueError: for another name, or blocks of unequal widths.
    """
    if kind not in CONDITIONERS:
        raise ValueError(f"conditioner={kind!r}: expected one of {CONDITIONERS}")
    if kind == "residual":
        return ResidualMLP(hidden, activation, output_scale)
    return MLP(hidden, activation, last_activation, output_scale)
