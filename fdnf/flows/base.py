"""What a flow is: encode, decode, log_prob, sample over any stack of bijectors."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fdnf.bijectors.combinators import Chain, Repeat
from fdnf.ops import latents, rows
from fdnf.types import Context, Decoding, Encoding, Events, LogDet

Latents = tuple[Array, ...]
Temperature = latents.Temperature


def standard_normal_log_prob(z: Latents) -> LogDet:
    """Log density of every part under N(0, I), in nats, summed over the parts."""
    total = jnp.zeros(z[0].shape[:1], z[0].dtype)
    for part in z:
        axes = tuple(range(1, part.ndim))
        size = math.prod(part.shape[1:])
        total -= 0.5 * (jnp.sum(part**2, axis=axes) + size * math.log(2 * math.pi))
    return total


def largest_gap(a: Latents, b: Latents) -> Float[Array, " batch"]:
    """Largest |a - b| of each row, over all parts."""
    gaps = [rows.largest(one - two) for one, two in zip(a, b, strict=True)]
    return rows.largest(jnp.stack(gaps, axis=1))


class FlowModule(nn.Module):
    """A flow with a standard normal prior on every latent.

    Subclasses give `_encode(x, cond) -> (z, log_det, levels)` and
    `_decode(z, cond) -> (x, log_det, levels)`; `levels` in the same order and, for
    matching arguments, with the same values. A learned prior of a part split off is
    an affine map of that part, counted in `log_det`: the latents stay standard normal.

    `variables = flow.init(key, x)` with a real batch: data-dependent parameters take
    their statistics there.
    """

    def _encode(self, x: Events, cond: Context | None):
        raise NotImplementedError

    def _decode(self, z: Latents, cond: Context | None):
        raise NotImplementedError

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shape of each latent for data of shape `event`; by default one, the same."""
        return (event,)

    def encode(self, x: Events, cond: Context | None = None) -> Encoding:
        """Data to latents, with the exact density of the data."""
        z, log_det, levels = self._encode(x, cond)
        return Encoding(z, log_det, levels, standard_normal_log_prob(z))

    def decode(
        self, z: Latents, cond: Context | None = None, *, residual: bool = False
    ) -> Decoding:
        """Latents to data.

        Args:
          z: one array per latent, as `encode` gives them.
          cond: context.
          residual: also encode the result and report the round-trip error of each
            row, max |encode(x).z - z|. A stiff flow loses digits on the way, in any
            library; this says where.
        """
        x, log_det, levels = self._decode(z, cond)
        error = largest_gap(self._encode(x, cond)[0], z) if residual else None
        return Decoding(x, log_det, levels, error)

    def log_prob(self, x: Events, cond: Context | None = None) -> LogDet:
        """Log density of each row of `x`, in nats."""
        return self.encode(x, cond).log_prob

    def sample(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        temperature: Temperature = 1.0,
        cond: Context | None = None,
    ) -> Events:
        """Draws data of shape `(batch, *event)`.

        Args:
          key: randomness.
          shape: batch and event.
          temperature: standard deviation of the latents, or a tuple of one a latent;
            below 1, samples come from the middle of the distribution.
          cond: context.
        """
        return self.decode(self.draw(key, shape, temperature), cond).x

    def draw(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        temperature: Temperature = 1.0,
    ) -> Latents:
        """Latents for `decode`: teacher and student given the same ones share noise.

        Args:
          key: randomness; the same latents at every temperature but for their scale.
          shape: batch and event.
          temperature: standard deviation of all latents, or one a latent, in the
            order of `latent_shapes`: those split off first, the top last.

        Raises:
          ValueError: if there are not as many temperatures as latents.
        """
        parts = self.latent_shapes(tuple(shape[1:]))
        return latents.draw(key, shape[0], parts, temperature)

    def __call__(self, x: Events, cond: Context | None = None) -> Encoding:
        """Runs `encode`; what `init` calls."""
        return self.encode(x, cond)


class StackFlow(FlowModule):
    """A flow of one latent: a stack of bijectors whose activations are the levels.

    Subclasses give `_stack()`, the Chain or Repeat, which becomes the submodule
    `stack`.
    """

    def setup(self):
        """Makes the stack."""
        self.stack = self._stack()

    def _stack(self) -> Chain | Repeat:
        raise NotImplementedError

    def _encode(self, x: Events, cond: Context | None):
        z, log_det, levels = self.stack.trace(x, cond)
        return (z,), log_det, levels

    def _decode(self, z: Latents, cond: Context | None):
        return self.stack.trace_inverse(z[0], cond)
