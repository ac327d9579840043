"""A causal WaveNet: what it says of a time depends on earlier times only.

A Flax module gathers the weights, and two functions compute with them: `evaluate` all
times at once, `generate` one after the other. The second keeps what each layer made of
the past, so that a time costs one step of each layer, however far the layers see.

Reference: van den Oord et al. (2016), WaveNet; Ping et al. (2018), ClariNet; Le Paine
et al. (2016), Fast WaveNet generation algorithm.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fdnf.ops import convolutions
from fdnf.types import Context

dot = convolutions.dot
Series = Float[Array, "batch time channels"]
Outputs = Float[Array, "batch time outputs"]
BiasInit = Callable[[Outputs], Float[Array, " outputs"]]
# (outputs [batch, outputs] of a time, noise [batch, channels]) -> [batch, channels].
Choose = Callable[[Array, Array], Array]


class Layer(NamedTuple):
    """A convolution over time: kernel `[taps, inputs, outputs]`, bias `[outputs]`."""

    kernel: Array
    bias: Array


class Gated(NamedTuple):
    """A gated residual layer.

    Attributes:
      dilated: to both halves of the gate.
      context: `[context, 2 channels]`, of the condition; None without.
      out: of the gate, to what is added to the stream and to the sum of skips.
    """

    dilated: Layer
    context: Array | None
    out: Layer


class Weights(NamedTuple):
    """All of the network; `last` are the two layers on the sum of skips."""

    first: Layer
    layers: tuple[Gated, ...]
    last: tuple[Layer, Layer]


class CausalWaveNet(nn.Module):
    """Gated residual layers of dilation 1, 2, 4, .., several times over.

    h_0 = relu(first(x_{<t}))
    a_i = tanh(u) sigmoid(v), (u, v) = dilated_i(h_i) + C_i cond
    h_{i+1} = (h_i + R_i a_i) / sqrt(2), out = last(relu(inner(relu(sum_i S_i a_i))))

    Args:
      layers: in a cycle, of dilations 1 to 2^(layers - 1).
      cycles: how often these follow each other.
      channels: of the stream, of each half of the gate, and of the skips.
      taps: of the dilated convolutions.
      front: times that the first convolution sees.

    Reference: Ping et al. (2018), section 3.1; the front as in its open implementation.
    """

    layers: int = 10
    cycles: int = 2
    channels: int = 128
    taps: int = 2
    front: int = 32

    def __post_init__(self):
        sizes = self.layers, self.cycles, self.channels, self.front, self.taps - 1
        if min(sizes) < 1:
            raise ValueError(
                f"CausalWaveNet(layers={self.layers}, cycles={self.cycles}, "
                f"channels={self.channels}, taps={self.taps}, front={self.front}): "
                "expected at least 1 of each, and 2 taps"
            )
        super().__post_init__()

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each layer."""
        return tuple(2**i for _ in range(self.cycles) for i in range(self.layers))

    def reach(self) -> int:
        """Times before its own that an output sees."""
        return self.front + (self.taps - 1) * sum(self.dilations)

    @nn.compact
    def weights(
        self,
        x: Series,
        outputs: int,
        cond: Context | None = None,
        bias_init: BiasInit | None = None,
    ) -> Weights:
        """The network's weights, made on the first call.

        Args:
          x: used for its channels; in `init` also for `bias_init`.
          outputs: numbers a time.
          cond: `[batch, time, context]`, used for its width.
          bias_init: in `init`, outputs of the network without its last bias -> that
            bias.
        """
        n, count = self.channels, len(self.dilations)
        new = not self.has_variable("params", "last_bias")
        first = self._layer("first", (self.front, x.shape[-1], n))
        context = None
        if cond is not None:
            start = nn.initializers.lecun_normal()
            shape = (cond.shape[-1], 2 * n * count)
            whole = self.param("context_kernel", start, shape, jnp.float32)
            context = jnp.split(whole, count, axis=-1)
        layers = []
        for i in range(count):
            # Nothing reads what the last layer would add to the stream.
            width = n if i == count - 1 else 2 * n
            layers.append(
                Gated(
                    self._layer(f"dilated_{i}", (self.taps, n, 2 * n)),
                    None if context is None else context[i],
                    self._layer(f"out_{i}", (1, n, width)),
                )
            )
        inner = self._layer("inner", (1, n, n))
        last = self._layer("last", (1, n, outputs), 0.01)
        made = Weights(first, tuple(layers), (inner, last))
        # Not `is_initializing`: what is not the network's may be given before.
        if bias_init is not None and new:
            bias = bias_init(evaluate(self.dilations, made, x, cond))
            bias = bias.astype(jnp.float32)
            self.put_variable("params", "last_bias", bias)
            made = made._replace(last=(inner, Layer(last.kernel, bias)))
        return made

    def __call__(self, x: Series, outputs: int, cond: Context | None = None) -> Outputs:
        """All outputs in one pass."""
        return evaluate(self.dilations, self.weights(x, outputs, cond), x, cond)

    def _layer(self, name: str, shape: tuple[int, ...], scale: float = 1.0) -> Layer:
        start = nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")
        zeros = nn.initializers.zeros
        return Layer(
            self.param(f"{name}_kernel", start, shape, jnp.float32),
            self.param(f"{name}_bias", zeros, shape[-1:], jnp.float32),
        )


def _gated(layer: Gated, seen: Array, context: Array | None) -> tuple[Array, Array]:
    """What a layer adds to the stream and to the skips, of its dilated convolution."""
    raw = seen + layer.dilated.bias
    if context is not None:
        raw = raw + context
    u, v = jnp.split(raw, 2, axis=-1)
    out = dot(jnp.tanh(u) * jax.nn.sigmoid(v), layer.out.kernel[0]) + layer.out.bias
    skips = layer.dilated.kernel.shape[1]
    return out[..., :-skips], out[..., -skips:]


def _added(h: Array, residual: Array) -> Array:
    """The stream after a layer, whose variance does not grow."""
    return (h + residual) * math.sqrt(0.5) if residual.shape[-1] else h


def _ended(weights: Weights, skips: Array) -> Array:
    for layer in weights.last:
        skips = dot(jax.nn.relu(skips), layer.kernel[0]) + layer.bias
    return skips


def evaluate(
    dilations: tuple[int, ...],
    weights: Weights,
    x: Series,
    cond: Context | None = None,
) -> Outputs:
    """Outputs of all times, each of x before it, in one pass.

    Args:
      dilations: of the layers.
      weights: of the network.
      x: the series.
      cond: `[batch, time, context]`.
    """
    causal = functools.partial(convolutions.convolve_dilated, causal=True)
    before = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    h = jax.nn.relu(causal(before, weights.first.kernel) + weights.first.bias)
    given: Any = cond
    skips: Any = 0
    for dilation, layer in zip(dilations, weights.layers, strict=True):
        seen = causal(h, layer.dilated.kernel, dilation)
        context = None if layer.context is None else dot(given, layer.context)
        residual, skip = _gated(layer, seen, context)
        h, skips = _added(h, residual), skips + skip
    return _ended(weights, skips)


class _Past(NamedTuple):
    """What is kept of the times before.

    Attributes:
      seen: `[batch, front, channels]`, what was chosen last.
      rings: of each layer `[reach, batch, channels]`, its inputs, that of time t at t
        modulo its reach.
    """

    seen: Array
    rings: tuple[Array, ...]


def generate(
    dilations: tuple[int, ...],
    weights: Weights,
    noise: Series,
    cond: Context | None,
    choose: Choose,
) -> tuple[Series, Outputs]:
    """Chooses times one after the other, each given the network's outputs for it.

    x with x[:, t] = choose(evaluate(dilations, weights, x, cond)[:, t], noise[:, t]).

    Args:
      dilations: of the layers.
      weights: of the network.
      noise: handed to `choose`, time by time.
      cond: `[batch, time, context]`.
      choose: see `Choose`.

    Returns:
      x, and the outputs of which it was chosen.
    """
    dtype = jnp.result_type(noise, weights.first.kernel)
    batch, times, channels = noise.shape
    front, _, width = weights.first.kernel.shape
    taps = [layer.dilated.kernel.shape[0] for layer in weights.layers]
    contexts: Any = [layer.context for layer in weights.layers]
    # One product a time for all layers.
    whole: Any = None if cond is None else jnp.concatenate(contexts, axis=-1)

    def step(past: _Past, at: tuple[Array, Array, Array | None]) -> Any:
        t, noise, cond = at
        kernel = weights.first.kernel.reshape(-1, width)
        h = jax.nn.relu(dot(past.seen.reshape(batch, -1), kernel) + weights.first.bias)
        given: list[Array | None] = [None] * len(taps)
        if cond is not None:
            given = [*jnp.split(dot(cond, whole), len(taps), axis=-1)]
        skips: Any = 0
        rings = []
        for i, (dilation, layer) in enumerate(
            zip(dilations, weights.layers, strict=True)
        ):
            ring, reach = past.rings[i], dilation * (taps[i] - 1)
            before = [
                lax.dynamic_index_in_dim(ring, (t + k * dilation) % reach, 0, False)
                for k in range(taps[i] - 1)
            ]
            rings.append(lax.dynamic_update_index_in_dim(ring, h, t % reach, 0))
            kernel = layer.dilated.kernel.reshape(-1, 2 * width)
            seen = dot(jnp.concatenate([*before, h], axis=-1), kernel)
            residual, skip = _gated(layer, seen, given[i])
            h, skips = _added(h, residual), skips + skip
        outputs = _ended(weights, skips)
        x = choose(outputs, noise).astype(dtype)
        chosen = jnp.concatenate([past.seen[:, 1:], x[:, None]], axis=1)
        return _Past(chosen, tuple(rings)), (x, outputs)

    start = _Past(
        jnp.zeros((batch, front, channels), dtype),
        tuple(
            jnp.zeros((dilation * (count - 1), batch, width), dtype)
            for dilation, count in zip(dilations, taps, strict=True)
        ),
    )
    by_time = None if cond is None else jnp.moveaxis(cond, 1, 0)
    series = jnp.arange(times), jnp.moveaxis(noise.astype(dtype), 1, 0), by_time
    _, made = lax.scan(step, start, series)
    x, outputs = (jnp.moveaxis(each, 0, 1) for each in made)
    return x, outputs
