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

    m = u a and s = log u + soft_clamp(raw), the same in both directions, where the
    network says a and raw of x / u. The unit u is the spread of x over the batch of
    `init`, and fixed: sound has far less than 1, which a network would hardly see.
    `init` gives what comes out mean 0 and variance 1 over its batch, in either
    direction (nearly, in the sequential one, where u is 1), through the last bias of
    the network. The sequential direction keeps each layer's past, and takes one step of
    the network a sample.

    Args:
      net: the network.
      bound: largest |s - log u|.

    Reference: Ping et al. (2018), section 3.1.
    """

    net: CausalWaveNet
    bound: float = 7.0

    def setup(self):
        """Makes the unit, of which only data can say what it is."""
        # Not `is_initializing`: parameters may be given where constants are not.
        self.unitless = not self.has_variable("constants", "log_unit")
        self.log_unit = self.variable(
            "constants", "log_unit", jnp.zeros, (), jnp.float32
        )

    def _moments(self, outputs: Array) -> tuple[Array, Array]:
        """Means and log-scales in units of u, of all times or of one."""
        mean, raw = jnp.split(outputs, 2, axis=-1)
        return mean, conditioners.soft_clamp(raw, self.bound)

    def _outputs(self, x: Waveform, cond: Context | None) -> Outputs:
        if self.unitless:
            spread = jnp.std(x)
            log_unit = jnp.log(jnp.where(spread > 0, spread, 1.0))
            self.log_unit.value = log_unit.astype(jnp.float32)
        x = x * jnp.exp(-self.log_unit.value)

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

        dilations = self.net.dilations
        x, outputs = causal_wavenet.generate(dilations, weights, z, cond, choose)
        return x * jnp.exp(self.log_unit.value), outputs

    def _in_units(self, outputs: Array) -> tuple[Array, Array]:
        """Means and log-scales as they are."""
        mean, log_scale = self._moments(outputs)
        log_unit = self.log_unit.value
        return jnp.exp(log_unit) * mean, log_scale + log_unit

    def conditionals(
        self, x: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, Waveform]:
        """Mean and log-scale of each sample given those before it."""
        return self._in_units(self._outputs(x, cond))

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
        return x, jnp.sum(self._in_units(outputs)[1], axis=(1, 2))

    def parameters(
        self, x: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, tuple[Array, ...]]:
        """`forward`, and what the network says."""
        outputs = self._outputs(x, cond)
        mean, log_scale = self._in_units(outputs)
        return (x - mean) * jnp.exp(-log_scale), (_raw(outputs),)

    def inspect_forward(self, x: Waveform, cond: Context | None = None) -> Inspection:
        """One pass of the network."""
        outputs = self._outputs(x, cond)
        mean, log_scale = self._in_units(outputs)
        z = (x - mean) * jnp.exp(-log_scale)
        log_det = -jnp.sum(log_scale, axis=(1, 2))
        return Inspection(z, log_det, (_raw(outputs),), Moves.of_elements(-log_scale))

    def inspect_inverse(self, y: Waveform, cond: Context | None = None) -> Inspection:
        """Sample by sample."""
        x, outputs = self._sequence(y, cond)
        log_scale = self._in_units(outputs)[1]
        log_det = jnp.sum(log_scale, axis=(1, 2))
        return Inspection(x, log_det, (_raw(outputs),), Moves.of_elements(-log_scale))


def _raw(outputs: Outputs) -> Array:
    """`[batch, outputs, time, channels]`: numbers of each sample's map."""
    batch, times, width = outputs.shape
    return jnp.moveaxis(outputs.reshape(batch, times, 2, width // 2), 2, 1)
