"""Masked autoregressive affine maps, parallel forward and sequential inverse, and MADE.

MADE is the network: a masked dense one whose outputs for x_i see x_1 .. x_{i-1} only.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector
from fdnf.ops import autoregressive_inverse, conditioners, entering, statistics
from fdnf.ops.entering import Ints
from fdnf.types import Context, LogDet

Layers = tuple[tuple[Array, Array], ...]
"""(masked kernel [in, out], bias [out] or, in the first layer, [batch, out])."""


def masked_mlp(
    layers: Layers,
    x: Float[Array, "batch inputs"],
    function: Callable[[Array], Array],
) -> Float[Array, "batch outputs"]:
    """Dense layers with `function` between them, for kernels already masked."""
    for kernel, bias in layers[:-1]:
        x = function(_product(x, kernel) + bias)
    kernel, bias = layers[-1]
    return _product(x, kernel) + bias


def _product(x: Array, kernel: Array) -> Array:
    # The inverse of a flow computes these in full precision; at an accelerator's
    # default one the two directions would not undo each other.
    return jnp.matmul(x, kernel, precision="highest")


def lowest_degree(cond: Array | None) -> int:
    """Smallest degree of a hidden unit, see `conditioners.made_degrees`."""
    return 1 if cond is None else 0


class MADE(nn.Module):
    """Masked dense layers; hidden units are sorted by degree, so slices are blocks.

    Args:
      hidden: width of each hidden layer.
      activation: name of the activation.
      outputs: numbers per input dimension; output j of dimension i is column
        j * dim + i.
      output_scale: the last kernel starts at this multiple of its usual scale.

    Context enters as one more, unmasked, kernel into the first hidden layer, where some
    units then see nothing else: through them it reaches the first output too.

    Reference: Germain et al. (2015), eq. 8-13; Papamakarios et al. (2017), section 3.
    """

    hidden: Ints = (32, 32)
    activation: str = "relu"
    outputs: int = 2
    output_scale: float = 0.1

    def __post_init__(self):
        entering.make_hashable(self)
        super().__post_init__()

    @nn.compact
    def layers(
        self,
        x: Float[Array, "batch dim"],
        cond: Float[Array, "batch context"] | None = None,
        bias_init: Callable[[Array, Array], Array] | None = None,
    ) -> Layers:
        """The network's masked kernels and biases, made on the first call.

        Args:
          x: used for its width; in `init` also for `bias_init`.
          cond: context; makes the first bias one row per example.
          bias_init: in `init`, (x, outputs of the network without its last bias) ->
            the last bias. With one, columns that are constant in x, of which the batch
            says nothing, start with outputs of 0 beside that bias.

        Returns:
          One (kernel, bias) pair per layer.
        """
        dim = x.shape[-1]
        if not self.hidden:
            raise ValueError("MADE needs at least one hidden layer, got hidden=()")
        made = conditioners.made_masks(
            dim, tuple(self.hidden), lowest=lowest_degree(cond)
        )
        made = (*made[:-1], jnp.tile(made[-1], (1, self.outputs)))
        lecun = nn.initializers.lecun_normal()
        last = nn.initializers.variance_scaling(
            self.output_scale**2, "fan_in", "truncated_normal"
        )
        layers = []
        for i, mask in enumerate(made):
            is_last = i == len(made) - 1
            init = last if is_last else lecun
            of_batch = bias_init if is_last and self.is_initializing() else None
            if of_batch is not None:
                init = functools.partial(self._without_still, x, last)
            kernel = self.param(f"dense_{i}_kernel", init, mask.shape, jnp.float32)
            kernel = kernel * jnp.asarray(mask, kernel.dtype)
            bias_0 = jnp.zeros(mask.shape[1], kernel.dtype)
            if of_batch is not None:
                net = masked_mlp((*layers, (kernel, bias_0)), x, self._function)
                bias_0 = of_batch(x, net)
            bias = self.param(f"dense_{i}_bias", lambda _, value=bias_0: value)
            if i == 0 and cond is not None:
                shape = (cond.shape[-1], mask.shape[1])
                context = self.param("context_kernel", lecun, shape, jnp.float32)
                bias = bias + _product(cond, context)
            layers.append((kernel, bias))
        return tuple(layers)

    def _without_still(
        self, x: Array, init: Callable, key: Array, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        """`init`, with no weights for the outputs of columns that `x` has constant.

        What a new network says of these is all that varies in them, and the next layer
        to normalise would blow it up.
        """
        still = jnp.tile(statistics.constant(x, 0), self.outputs)
        return jnp.where(still, 0, init(key, shape, dtype))

    @property
    def _function(self) -> Callable[[Array], Array]:
        return conditioners.activation(self.activation)

    def __call__(
        self,
        x: Float[Array, "batch dim"],
        cond: Float[Array, "batch context"] | None = None,
        bias_init: Callable[[Array, Array], Array] | None = None,
    ) -> Float[Array, "batch outputs"]:
        """All outputs in one pass."""
        return masked_mlp(self.layers(x, cond, bias_init), x, self._function)


Vectors = Float[Array, "batch dim"]


class MaskedAffine(Bijector):
    """u_i = (x_i - m_i(x_{<i})) exp(-a_i(x_{<i})), a = soft_clamp(raw).

    Without further layers, `init` gives each u_i mean 0 and variance 1 on its batch,
    through the last biases of the network; what does not vary there gets the scale of
    the others, see `ops.statistics`. The log-scale is clamped softly, the same in both
    directions, so that no latent decodes to infinity.

    Args:
      made: the network; it must have 2 outputs per dimension, (m | raw).
      bound: largest |a|.
      method: how `inverse` is computed, one of `autoregressive_inverse.METHODS`;
        all agree, see there.
      tolerance: of the iterative methods.

    Reference: Papamakarios et al. (2017), eq. 3-5.
    """

    made: MADE
    bound: float = 5.0
    method: str = "auto"
    tolerance: float = 1e-5

    def _bias_init(self, x: Vectors, net: Array) -> Array:
        shift, raw = jnp.split(net, 2, axis=-1)
        start = statistics.affine_start(x - shift, raw, 0, self.bound)
        return jnp.concatenate(start)

    def forward(
        self, x: Vectors, cond: Context | None = None
    ) -> tuple[Vectors, LogDet]:
        """One pass of the network."""
        shift, raw = jnp.split(self.made(x, cond, self._bias_init), 2, axis=-1)
        log_scale = conditioners.soft_clamp(raw, self.bound)
        return (x - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale, axis=-1)

    def inverse(
        self, y: Vectors, cond: Context | None = None
    ) -> tuple[Vectors, LogDet]:
        """x_i = u_i exp(a_i(x_{<i})) + m_i(x_{<i}), each unit computed once."""
        solution = autoregressive_inverse.invert(
            self.made.layers(y, cond),
            y,
            activation=conditioners.activation(self.made.activation),
            log_scale=_log_scale(self.bound),
            method=self.method,
            tol=self.tolerance,
            lowest=lowest_degree(cond),
        )
        return solution.x, jnp.sum(solution.log_scale, axis=-1)


@functools.lru_cache
def _log_scale(bound: float):
    """One object per bound: static arguments are compared by identity."""
    return functools.partial(conditioners.soft_clamp, bound=bound)
