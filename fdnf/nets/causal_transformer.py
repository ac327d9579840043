"""A causal transformer: what it says of a token depends on the tokens before it only.

A Flax module gathers the weights, and two functions compute with them: `evaluate` all
tokens at once, `advance` a few that follow those seen before. The second keeps the keys
and values of every layer, so that a token costs one step of each layer and a look at
what is kept; `generate` goes through a sequence so, token by token.

Reference: Vaswani et al. (2017), Attention is all you need; Xiong et al. (2020), On
layer normalization in the transformer architecture (norms before, as here).
"""

import functools
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
Sequence = Float[Array, "batch tokens width"]
Outputs = Float[Array, "batch tokens outputs"]
BiasInit = Callable[[Outputs], Float[Array, " outputs"]]
# (outputs [batch, outputs] of a token, noise [batch, width]) -> [batch, width].
Choose = Callable[[Array, Array], Array]

# Units of the MLP for each channel.
EXPANSION = 4


class Dense(NamedTuple):
    """A kernel `[inputs, outputs]` and its bias."""

    kernel: Array
    bias: Array


class Norm(NamedTuple):
    """What a normalised token is scaled and shifted by, `[channels]` each."""

    scale: Array
    bias: Array


class Layer(NamedTuple):
    """Attention, then an MLP, each of the normalised stream and added to it.

    Attributes:
      before_attention: its norm.
      attention: to queries, keys and values.
      attended: from the heads to the stream.
      before_mlp: its norm.
      hidden: to the units of the MLP.
      added: from there to the stream.
    """

    before_attention: Norm
    attention: Dense
    attended: Dense
    before_mlp: Norm
    hidden: Dense
    added: Dense


class Weights(NamedTuple):
    """All of the network, and what it was told of the rows.

    Attributes:
      first: from a token to the stream, without a bias.
      positions: `[tokens, channels]`, added to the stream; the first is what stands
        for the token before the first.
      context: `[batch, channels]`, of a condition, added to all tokens; None without.
      layers: one after the other.
      last_norm: of the stream after them.
      last: to the outputs.
    """

    first: Array
    positions: Array
    context: Array | None
    layers: tuple[Layer, ...]
    last_norm: Norm
    last: Dense


class Cache(NamedTuple):
    """Keys and values of each layer, `[batch, tokens, heads, head_channels]`."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


class CausalTransformer(nn.Module):
    """Tokens x_1 .. x_T in, numbers of each given those before it out.

    h_t = W x_{t-1} + p_t + C cond, with x_0 = 0
    h <- h + attention(norm(h)), h <- h + mlp(norm(h)), in each layer
    out_t = V norm(h_t) + b

    V starts at 0: a new network says b of every token.

    Args:
      layers: how many.
      channels: of the stream.
      heads: of the attention, which divide the channels.
    """

    layers: int = 4
    channels: int = 128
    heads: int = 4

    def __post_init__(self):
        if min(self.layers, self.channels, self.heads) < 1 or (
            self.channels % self.heads
        ):
            raise ValueError(
                f"CausalTransformer(layers={self.layers}, channels={self.channels}, "
                f"heads={self.heads}): expected at least 1 of each, and heads that "
                "divide the channels"
            )
        super().__post_init__()

    @nn.compact
    def weights(
        self,
        x: Sequence,
        outputs: int,
        cond: Context | None = None,
        bias_init: BiasInit | None = None,
        grid: tuple[int, ...] | None = None,
    ) -> Weights:
        """The network's weights, made on the first call.

        Args:
          x: used for its shape; in `init` also for `bias_init`.
          outputs: numbers a token.
          cond: `[batch, features]`.
          bias_init: in `init`, outputs of the network without its last bias -> that
            bias.
          grid: tokens along each axis, whose product they are: the shape in which
            positions are stored; None for one axis.

        Raises:
          ValueError: for a condition that is no vector a row.
        """
        n, width = self.channels, x.shape[-1]
        grid = x.shape[1:2] if grid is None else grid
        lecun = nn.initializers.lecun_normal()
        first = self.param("first_kernel", lecun, (width, n), jnp.float32)
        normal = nn.initializers.normal(0.02)
        positions = self.param("positions", normal, (*grid, n), jnp.float32)
        context = None
        if cond is not None:
            if cond.ndim != 2:
                raise ValueError(
                    f"CausalTransformer with a condition of shape {cond.shape}: "
                    "expected one vector a row, [batch, features]"
                )
            shape = (cond.shape[-1], n)
            kernel = self.param("context_kernel", lecun, shape, jnp.float32)
            context = dot(cond, kernel)
        # What layers add is of size 1 together.
        small = 1 / (2 * self.layers)
        layers = tuple(
            Layer(
                self._norm(f"attention_{i}_norm"),
                self._dense(f"attention_{i}", n, 3 * n),
                self._dense(f"attended_{i}", n, n, small),
                self._norm(f"mlp_{i}_norm"),
                self._dense(f"hidden_{i}", n, EXPANSION * n),
                self._dense(f"added_{i}", EXPANSION * n, n, small),
            )
            for i in range(self.layers)
        )
        last_norm = self._norm("last_norm")
        zeros = nn.initializers.zeros
        kernel = self.param("last_kernel", zeros, (n, outputs), jnp.float32)
        bias = jnp.zeros(outputs, kernel.dtype)
        positions = positions.reshape(-1, n)
        made = Weights(
            first, positions, context, layers, last_norm, Dense(kernel, bias)
        )
        if bias_init is not None and self.is_initializing():
            bias = bias_init(evaluate(self.heads, made, x)).astype(jnp.float32)
        bias = self.param("last_bias", lambda _, value=bias: value)
        return made._replace(last=Dense(kernel, bias))

    def __call__(self, x: Sequence, outputs: int, cond: Context | None = None):
        """All outputs in one pass."""
        return evaluate(self.heads, self.weights(x, outputs, cond), x)

    def _dense(self, name: str, inputs: int, outputs: int, scale: float = 1.0) -> Dense:
        start = nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")
        zeros = nn.initializers.zeros
        return Dense(
            self.param(f"{name}_kernel", start, (inputs, outputs), jnp.float32),
            self.param(f"{name}_bias", zeros, (outputs,), jnp.float32),
        )

    def _norm(self, name: str) -> Norm:
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        shape = (self.channels,)
        return Norm(
            self.param(f"{name}_scale", ones, shape, jnp.float32),
            self.param(f"{name}_bias", zeros, shape, jnp.float32),
        )


def _applied(dense: Dense, h: Array) -> Array:
    return dot(h, dense.kernel) + dense.bias


def _normed(norm: Norm, h: Array) -> Array:
    """Mean 0 and variance 1 of each token's channels, then scaled and shifted."""
    centred = h - jnp.mean(h, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred * lax.rsqrt(variance + 1e-6) * norm.scale + norm.bias


# (layer's number, keys, values) -> keys and values to look at.
Look = Callable[[int, Array, Array], tuple[Array, Array]]


def _through(heads: int, weights: Weights, h: Array, mask: Array, look: Look) -> Array:
    """Outputs of a stream `[batch, tokens, channels]`; mask is [tokens, seen]."""
    for i, layer in enumerate(weights.layers):
        joint = _applied(layer.attention, _normed(layer.before_attention, h))
        joint = joint.reshape(*h.shape[:-1], 3, heads, -1)
        query, key, value = jnp.unstack(joint, axis=-3)
        key, value = look(i, key, value)
        found = nn.dot_product_attention(
            query, key, value, mask=mask, precision=lax.Precision.HIGHEST
        )
        h = h + _applied(layer.attended, found.reshape(h.shape))
        units = jax.nn.gelu(_applied(layer.hidden, _normed(layer.before_mlp, h)))
        h = h + _applied(layer.added, units)
    return _applied(weights.last, _normed(weights.last_norm, h))


def _streamed(weights: Weights, before: Sequence, positions: Array) -> Array:
    """What the layers are given, of the token before each."""
    h = dot(before, weights.first) + positions
    return h if weights.context is None else h + weights.context[:, None]


def shifted(x: Sequence, before: Float[Array, "batch width"] | None = None) -> Sequence:
    """The token before each; before the first one `before`, 0 where it is None."""
    start = jnp.zeros_like(x[:, :1]) if before is None else before[:, None]
    return jnp.concatenate([start, x[:, :-1]], axis=1)


def evaluate(heads: int, weights: Weights, x: Sequence) -> Outputs:
    """Outputs of all tokens, each of x before it, in one pass.

    Args:
      heads: of the attention.
      weights: of the network.
      x: the tokens, as many as the network was made with.
    """
    mask = jnp.tri(x.shape[1], dtype=bool)
    h = _streamed(weights, shifted(x), weights.positions)
    return _through(heads, weights, h, mask, lambda _, key, value: (key, value))


def empty(heads: int, weights: Weights, batch: int, dtype: Any) -> Cache:
    """The cache before the first token, with room for all."""
    tokens, channels = weights.positions.shape
    blank = jnp.zeros((batch, tokens, heads, channels // heads), dtype)
    each = (blank,) * len(weights.layers)
    return Cache(each, each)


def advance(
    heads: int, weights: Weights, cache: Cache, first: Array | int, before: Sequence
) -> tuple[Outputs, Cache]:
    """Outputs of some tokens in a row, given all before them.

    Args:
      heads: of the attention.
      weights: of the network.
      cache: with the keys and values of the tokens before `first`; what it has of
        later ones is not looked at.
      first: place of the first of these tokens.
      before: of each of them the token before, see `shifted`.

    Returns:
      Outputs, and the cache with these tokens in it.
    """
    count = before.shape[1]
    places = first + jnp.arange(count)
    mask = jnp.arange(cache.keys[0].shape[1]) <= places[:, None]
    keys, values = list(cache.keys), list(cache.values)

    def look(i: int, key: Array, value: Array) -> tuple[Array, Array]:
        put = functools.partial(lax.dynamic_update_slice_in_dim, axis=1)
        keys[i] = put(keys[i], key, first)
        values[i] = put(values[i], value, first)
        return keys[i], values[i]

    positions = lax.dynamic_slice_in_dim(weights.positions, first, count)
    h = _streamed(weights, before, positions)
    outputs = _through(heads, weights, h, mask, look)
    return outputs, Cache(tuple(keys), tuple(values))


def generate(heads: int, weights: Weights, noise: Sequence, choose: Choose) -> Sequence:
    """Chooses tokens one after the other, each given the network's outputs for it.

    x with x[:, t] = choose(evaluate(heads, weights, x)[:, t], noise[:, t]).

    Args:
      heads: of the attention.
      weights: of the network.
      noise: handed to `choose`, token by token, in the dtype of the weights.
      choose: see `Choose`.
    """
    batch, tokens, _ = noise.shape

    def step(carry: tuple[Array, Cache], at: tuple[Array, Array]) -> Any:
        before, cache = carry
        place, given = at
        outputs, cache = advance(heads, weights, cache, place, before[:, None])
        x = choose(outputs[:, 0], given)
        return (x, cache), x

    start = jnp.zeros_like(noise[:, 0]), empty(heads, weights, batch, noise.dtype)
    series = jnp.arange(tokens), jnp.moveaxis(noise, 1, 0)
    return jnp.moveaxis(lax.scan(step, start, series)[1], 0, 1)


def padded(weights: Weights, tokens: int) -> Weights:
    """The network with room for more tokens, whose positions are 0."""
    more = tokens - weights.positions.shape[0]
    positions = jnp.pad(weights.positions, ((0, more), (0, 0)))
    return weights._replace(positions=positions)
