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
        init = nn.initializers.variance_scaling(
            max(self.output_scale, 0.0) ** 2 or 1.0, "fan_in", "truncated_normal"
        )
        if self.output_scale == 0.0:
            init = nn.initializers.zeros
        return nn.Dense(features, kernel_init=init, name="output")(h)
