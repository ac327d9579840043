"""From frames of a mel spectrogram to a condition of every group of samples."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import grouping, transposed_convolution
from fdnf.types import Context

Grouped = Float[Array, "batch groups context"]


class MelUpsampler(nn.Module):
    """Transposed convolution to the rate of the audio, cut to its length, grouped.

    Args:
      group: samples of a group.
      hop: samples from frame to frame, the stride.
      taps: of the transposed convolution, `hop` times the frames that a sample sees.
      features: channels of the upsampled mel; None for as many as it has.
      frozen: weights stand in `constants` and get no gradient: a student's, taken
        over from its teacher.

    Reference: Prenger et al. (2018), section 2.2 and released code; Baranchuk et al.
    (2021), released code, whose students keep the teacher's.
    """

    group: int = 8
    hop: int = 256
    taps: int = 1024
    features: int | None = None
    frozen: bool = False

    @nn.compact
    def __call__(self, mel: Context, time: int) -> Grouped:
        """The condition of `time` samples, `group` of them in a row.

        Args:
          mel: `[batch, frames, mels]`, frame f at sample f `hop`; later ones than
            those of `time` samples are not used.
          time: samples, a multiple of `group`.

        Raises:
          ValueError: if the frames are too few or no spectrogram.
        """
        if mel.ndim != 3:
            raise ValueError(
                f"condition of shape {mel.shape}: expected a log-mel spectrogram "
                "[batch, frames, mels]"
            )
        needed = -(-time // self.hop)
        if mel.shape[1] < needed:
            raise ValueError(
                f"{mel.shape[1]} frames of {self.hop} samples for {time} samples: "
                f"expected at least {needed}; is hop that of the mel?"
            )
        mels = mel.shape[-1]
        features = mels if self.features is None else self.features
        kernel, bias = self._weights((self.taps, mels, features))
        fine = transposed_convolution.upsample(mel[:, :needed], kernel, self.hop)
        return grouping.group(fine[:, :time] + bias, self.group)

    def _weights(self, shape: tuple[int, int, int]) -> tuple[Array, Array]:
        # The spread of the released code: by taps and outputs, not by the inputs that
        # a sample sees, since log-mels are far from 0.
        limit = (shape[0] * shape[2]) ** -0.5

        def kernel_init(key, shape, dtype):
            return jax.random.uniform(key, shape, dtype, -limit, limit)

        if not self.frozen:
            kernel = self.param("kernel", kernel_init, shape, jnp.float32)
            zeros = nn.initializers.zeros
            return kernel, self.param("bias", zeros, shape[-1:], jnp.float32)

        def drawn():
            return kernel_init(self.make_rng("params"), shape, jnp.float32)

        kernel = self.variable("constants", "kernel", drawn).value
        bias = self.variable("constants", "bias", jnp.zeros, shape[-1:], jnp.float32)
        return jax.lax.stop_gradient((kernel, bias.value))
