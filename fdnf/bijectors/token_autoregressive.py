"""Autoregressive map of tokens by a causal transformer, and its sequential inverse.

z_t = T(x_t; raw_t(x_{<t})), each number of a token by itself: with the affine map T

z_t = (x_t - mu(x_{<t})) exp(-alpha(x_{<t})), log_det = -sum alpha

What the network says of the first token is a constant (of the condition); in the paper
that token stays as it is.

The inverse is the solution of x = g(x), g(x)_t = T^-1(z_t; raw_t(x_{<t})), see
`ops.triangular`: token by token, each in one step of the network that keeps the keys
and values of those before, or by Jacobi's iteration of one segment of tokens after the
other.

Reference: Zhai et al. (2024), Normalizing flows are capable generative models, eq. 4-7;
Liu, Qin (2025), Accelerate TarFlow sampling with GS-Jacobi iteration, for segments.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fdnf.bijectors import transformers
from fdnf.bijectors.base import Bijector, Inspection, Moves, Report
from fdnf.bijectors.transformers import Transformer
from fdnf.nets import causal_transformer
from fdnf.nets.causal_transformer import CausalTransformer, Weights
from fdnf.ops import fixed_point, rows, tokens, triangular
from fdnf.types import Context, Events, LogDet, Mapped

METHODS = ("auto", "cached", "jacobi", "naive")

Tokens = Float[Array, "batch tokens width"]


def split_outputs(outputs: Float[Array, "*tokens outputs"], width: int) -> Array:
    """`[numbers, *tokens, width]`: what the transformers of each element take."""
    parts = outputs.reshape(*outputs.shape[:-1], -1, width)
    return jnp.moveaxis(parts, -2, 0)


@dataclasses.dataclass(frozen=True)
class Plan(triangular.Problem):
    """Everything static of an inverse.

    Attributes:
      heads: of the network.
      transformer: of each element.
      tolerance: of the iterations, largest |F(x) - z|, and of gradients.
      segment: tokens that are iterated together; None for all.
    """

    heads: int
    transformer: Transformer
    tolerance: float
    segment: int | None = None

    def parts(self, given: Array) -> int:
        """As many as there are tokens."""
        return given.shape[1]

    def round(self, weights: Weights, given: Array, unknown: Array) -> Any:
        """One pass of the network."""
        outputs = causal_transformer.evaluate(self.heads, weights, unknown)
        return self._judged(outputs, given, unknown)

    def _judged(self, outputs: Array, z: Array, x: Array, counts: Any = None) -> Any:
        """g(x), and the residual of x over the tokens that count."""
        raw = split_outputs(outputs, z.shape[-1])
        gap = self.transformer.forward(raw, x)[0] - z
        gap = gap if counts is None else jnp.where(counts[:, None], gap, 0)
        return self.transformer.inverse(raw, z)[0], rows.largest(gap)

    def found(self, weights: Weights, given: Array) -> Array:
        """Token by token."""

        def choose(outputs: Array, z: Array) -> Array:
            raw = split_outputs(outputs, z.shape[-1])
            return self.transformer.inverse(raw, z)[0]

        return causal_transformer.generate(self.heads, weights, given, choose)

    def settled(self, weights: Weights, given: Array, start: Array) -> Any:
        """Segment after segment; the rounds of a row are those of all its segments."""
        batch, count, _ = given.shape
        size = min(self.segment or count, count)
        if size == count:
            return super().settled(weights, given, start)
        whole = -(-count // size) * size
        weights = causal_transformer.padded(weights, whole)

        def cut(x: Array) -> Array:
            x = jnp.pad(x, ((0, 0), (0, whole - count), (0, 0)))
            return jnp.moveaxis(x.reshape(batch, -1, size, x.shape[-1]), 1, 0)

        look = functools.partial(causal_transformer.advance, self.heads, weights)

        def one(carry: Any, at: Any) -> Any:
            last, cache, rounds = carry
            first, z, near = at
            counts = first + jnp.arange(size) < count

            def step(x: Array) -> Any:
                before = causal_transformer.shifted(x, last)
                return self._judged(look(cache, first, before)[0], z, x, counts)

            found = fixed_point.settle(step, near, tolerance=self.tolerance, limit=size)
            _, cache = look(cache, first, causal_transformer.shifted(found.x, last))
            return (found.x[:, -1], cache, rounds + found.iterations), found.x

        cache = causal_transformer.empty(self.heads, weights, batch, given.dtype)
        carry = jnp.zeros_like(given[:, 0]), cache, jnp.zeros((batch,), jnp.int32)
        series = jnp.arange(0, whole, size), cut(given), cut(start)
        (_, _, rounds), parts = lax.scan(one, carry, series)
        x = jnp.moveaxis(parts, 0, 1).reshape(batch, whole, -1)
        return x[:, :count], rounds


class TokenAutoregressive(Bijector):
    """z_t = T(x_t; raw_t(x_{<t})) of the tokens of vectors or images.

    `init` gives z mean 0 and variance 1 over its batch and its tokens, in either
    direction, where the transformer can, through the last biases of the network. Slopes
    of transformers are bounded, the same in both directions.

    Args:
      net: the network.
      patch: columns of a token of a vector, or pixels of the side of one of an image,
        see `ops.tokens`.
      transformer: T, the map of one element.
      method: how `inverse` is computed; all agree.
        "cached": token by token, each in one step of the network.
        "jacobi": segments of tokens, each by rounds of the network from z, until its
          residual is within the tolerance.
        "naive": the whole network as often as there are tokens, differentiated as
          written: the reference for tests.
        "auto": "cached".
      segment: tokens that "jacobi", and an inverse from a start, iterate together; None
        for all of them.
      tolerance: of the iterations, and of gradients of every method.

    Raises:
      ValueError: for an unknown method, or a segment below 1.

    Reference: Zhai et al. (2024), eq. 4-7.
    """

    net: CausalTransformer
    patch: int = 1
    transformer: Transformer = transformers.Affine()
    method: str = "auto"
    segment: int | None = None
    tolerance: float = 1e-6

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; known: {METHODS}")
        if self.segment is not None and self.segment < 1:
            raise ValueError(
                f"segment={self.segment}: expected at least 1 token, or None for all"
            )
        super().__post_init__()

    def _split(self, x: Events) -> Tokens:
        return tokens.split(x, self.patch, x.ndim - 1)

    def _weights(
        self, x: Events, cond: Context | None, transformer: Transformer
    ) -> Weights:
        """The network; a new one makes the first batch standard by `transformer`."""
        given = self._split(x)
        width = given.shape[-1]

        def bias(outputs: Array) -> Array:
            raw = split_outputs(outputs, width)
            raw = raw.reshape(raw.shape[0], -1, width)
            found = transformer.start(given.reshape(-1, width), raw)
            found = jnp.zeros_like(raw[:, 0]) if found is None else found
            return found.reshape(-1)

        size, grid = transformer.outputs * width, tokens.grid(x.shape[1:], self.patch)
        return self.net.weights(given, size, cond, bias, grid)

    def _mapped(self, weights: Weights, x: Events) -> tuple[Array, Array, Array]:
        """z, log dz/dx and raw numbers `[numbers, ...]`, as the tokens are."""
        given = self._split(x)
        outputs = causal_transformer.evaluate(self.net.heads, weights, given)
        raw = split_outputs(outputs, given.shape[-1])
        return *self.transformer.forward(raw, given), raw

    def _joiner(self, event: tuple[int, ...]) -> Callable[[Array], Array]:
        return lambda parts: tokens.join(parts, self.patch, event)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """One pass of the network."""
        weights = self._weights(x, cond, self.transformer)
        z, log_slope, _ = self._mapped(weights, x)
        return self._joiner(x.shape[1:])(z), jnp.sum(log_slope, axis=(1, 2))

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Token by token; the log_det by one pass of the network at the result."""
        return self.inverse_with_report(y, cond)[:2]

    def inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> tuple[Mapped, LogDet, Report]:
        """`inverse`; from a start by iteration of the network, segment by segment.

        A round is one of a segment; the iterations of a row are those of all segments.
        """
        inverse = transformers.inverse_of(self.transformer)
        weights = self._weights(y, cond, inverse)
        near = None if start is None else self._split(start)
        x, count = self._solved(weights, self._split(y), near)
        # Zeros stand in for events that exploded: the gradient of a discarded 0 is 0,
        # while that of a discarded inf is nan.
        finite = jnp.all(jnp.isfinite(x), axis=(1, 2))
        join = self._joiner(y.shape[1:])
        at = join(jnp.where(rows.beside(finite, x), x, 0))
        back, log_slope, _ = self._mapped(weights, at)
        gap = rows.largest(join(back) - y)
        residual = jnp.where(finite & jnp.isfinite(gap), gap, jnp.inf)
        log_det = jnp.where(finite, -jnp.sum(log_slope, axis=(1, 2)), jnp.nan)
        return join(x), log_det, Report(residual[None], count[None])

    def _solved(self, weights: Weights, z: Tokens, start: Tokens | None) -> Any:
        """The tokens, and the rounds of each row."""
        dtype = jnp.result_type(z, weights.first)
        weights, z = jax.tree.map(lambda leaf: leaf.astype(dtype), (weights, z))
        plan = Plan(self.net.heads, self.transformer, self.tolerance, self.segment)
        none = jnp.zeros(z.shape[:1], jnp.int32)
        if self.is_initializing():
            # A new network says the same of all tokens.
            return plan.round(weights, z, jnp.zeros_like(z))[0], none
        if start is None and self.method == "jacobi":
            start = z
        if start is not None:
            return triangular.settle(plan, weights, z, start.astype(dtype))
        naive = self.method == "naive"
        solve = triangular.repeated if naive else triangular.solve
        return solve(plan, weights, z), none

    def parameters(
        self, x: Events, cond: Context | None = None
    ) -> tuple[Mapped, tuple[Array, ...]]:
        """`forward`, and the raw numbers with which it maps x."""
        seen = self.inspect_forward(x, cond)
        return seen.out, seen.parameters

    def inspect_forward(self, x: Events, cond: Context | None = None) -> Inspection:
        """One pass of the network."""
        found = self._mapped(self._weights(x, cond, self.transformer), x)
        z, log_slope, raw = map(self._joiner(x.shape[1:]), found)
        log_det = jnp.sum(found[1], axis=(1, 2))
        moves = Moves.of_elements(log_slope)
        return Inspection(z, log_det, (jnp.moveaxis(raw, 0, 1),), moves)

    def inspect_inverse(self, y: Events, cond: Context | None = None) -> Inspection:
        """Token by token, and one pass more."""
        x, _ = self.inverse(y, cond)
        seen = self.inspect_forward(x, cond)
        return seen._replace(out=x, log_det=-seen.log_det)


class ReverseTokens(Bijector):
    """The tokens of vectors or images in the reverse order, each as it was.

    Args:
      patch: see `TokenAutoregressive`.
    """

    patch: int = 1

    def _turned(self, x: Array) -> Array:
        return tokens.reverse(x, self.patch, x.ndim - 1)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Reverses."""
        return self._turned(x), jnp.zeros(x.shape[:1], x.dtype)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Reverses again."""
        return self.forward(y, cond)

    def _moves(self, like: Events) -> Moves:
        return Moves(self._turned, self._turned)
