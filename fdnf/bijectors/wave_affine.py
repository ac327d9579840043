"""Waveforms by an autoregressive network with one Gaussian a sample."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector, Inspection, Moves
from fdnf.nets import causal_wavenet
from fdnf.nets.causal_wavenet import CausalWaveNet, Outputs
from fdnf.ops import conditioners, statistics
from fdnf.types import Context, LogDet

Waveform = Float[Array, "batch time channels"]


class WaveAffine(Bijector):
    """z_t = (x_t - m_t) exp(-s_t), m and s of the samples before t.

    s = soft_clamp(raw), the same in both directions. `init` gives what comes out mean 0
    and variance 1 over its batch, in either direction (nearly, in the sequential one),
    through the last bias of the network. The sequential direction keeps each layer's
    past, and takes one step of the network a sample.

    Args:
      net: the network.
      bound: largest |s|.

    Reference: Ping et al. (2018), section 3.1.
    """

    net: CausalWaveNet
    bound: float = 7.0

    def _moments(self, outputs: Array) -> tuple[Array, Array]:
        """Means and log-scales, of all times or of one."""
        mean, raw = jnp.split(outputs, 2, axis=-1)
        return mean, conditioners.soft_clamp(raw, self.bound)

    def _outputs(self, x: Waveform, cond: Context | None) -> Outputs:
        def start(outputs: Outputs) -> Array:
            mean, raw = jnp.split(outputs, 2, axis=-1)
            found = statistics.affine_start(x - mean, raw, (0, 1), self.bound)
            return jnp.concatenate([*found])

        weights = self.net.weights(x, 2 * x.shape[-1], cond, start)
        return causal_wavenet.evaluate(self.net.dilations, weights, x, cond)

    def _sequence(self, z: Waveform, cond: Context | None) -> tuple[Waveform, Outputs]:
        def start(outputs: Outputs) -> Array:
            # As if the network said the same of all samples, which a new one does but
            # for a hundredth.
            shift, raw = statistics.affine_start(z, 0 * z, (0, 1), self.bound)
            shift = shift * jnp.exp(-conditioners.soft_clamp(raw, self.bound))
            return jnp.concatenate([-shift, -raw])

        weights = self.net.weights(z, 2 * z.shape[-1], cond, start)

        def choose(outputs: Array, noise: Array) -> Array:
            mean, log_scale = self._moments(outputs)
            return mean + jnp.exp(log_scale) * noise

        return causal_wavenet.generate(self.net.dilations, weights, z, cond, choose)

    def conditionals(
        self, x: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, Waveform]:
        """Mean and log-scale of each sample given those before it."""
        return self._moments(self._outputs(x, cond))

    def forward(
        self, x: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, LogDet]:
        """One pass of the network."""
        mean, log_scale = self.conditionals(x, cond)
        z = (x - mean) * jnp.exp(-log_scale)
        return z, -jnp.sum(log_scale, axis=(1, 2))

    def inverse(
        self, y: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, LogDet]:
        """Sample by sample."""
        x, outputs = self._sequence(y, cond)
        return x, jnp.sum(self._moments(outputs)[1], axis=(1, 2))

    def parameters(
        self, x: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, tuple[Array, ...]]:
        """`forward`, and what the network says."""
        outputs = self._outputs(x, cond)
        mean, log_scale = self._moments(outputs)
        return (x - mean) * jnp.exp(-log_scale), (_raw(outputs),)

    def inspect_forward(self, x: Waveform, cond: Context | None = None) -> Inspection:
        """One pass of the network."""
        outputs = self._outputs(x, cond)
        mean, log_scale = self._moments(outputs)
        z = (x - mean) * jnp.exp(-log_scale)
        log_det = -jnp.sum(log_scale, axis=(1, 2))
        return Inspection(z, log_det, (_raw(outputs),), Moves.of_elements(-log_scale))

    def inspect_inverse(self, y: Waveform, cond: Context | None = None) -> Inspection:
        """Sample by sample."""
        x, outputs = self._sequence(y, cond)
        log_scale = self._moments(outputs)[1]
        log_det = jnp.sum(log_scale, axis=(1, 2))
        return Inspection(x, log_det, (_raw(outputs),), Moves.of_elements(-log_scale))


def _raw(outputs: Outputs) -> Array:
    """`[batch, outputs, time, channels]`: numbers of each sample's map."""
    batch, times, width = outputs.shape
    return jnp.moveaxis(outputs.reshape(batch, times, 2, width // 2), 2, 1)
