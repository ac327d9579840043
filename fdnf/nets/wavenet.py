"""WaveNet on groups of samples, and what brings a mel spectrogram to their rate."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import convolutions, squeeze
from fdnf.types import Context

Series = Float[Array, "batch time channels"]
Result = Float[Array, "batch time outputs"]


class Conv(nn.Module):
    """Convolution over time with a bias, zero padded to the same length.

    Args:
      features: output channels.
      taps: 1 for a linear map at every position.
      dilation: positions between taps.
      zero: starts at 0 instead of at LeCun's normal one.
    """

    features: int
    taps: int = 1
    dilation: int = 1
    zero: bool = False

    @nn.compact
    def weights(self, inputs: int) -> tuple[Array, Array]:
        """Kernel `[taps, inputs, features]` and bias."""
        zeros = nn.initializers.zeros
        start = zeros if self.zero else nn.initializers.lecun_normal()
        shape = (self.taps, inputs, self.features)
        kernel = self.param("kernel", start, shape, jnp.float32)
        return kernel, self.param("bias", zeros, (self.features,), jnp.float32)

    def __call__(self, x: Series) -> Result:
        """Convolves."""
        kernel, bias = self.weights(x.shape[-1])
        return convolutions.convolve_dilated(x, kernel, self.dilation) + bias


class WaveNet(nn.Module):
    """Gated residual layers of dilation 1, 2, 4, ..., whose skips are summed.

    a_i = tanh(u) sigmoid(v), (u, v) = dilated_i(h_i) + C_i cond
    h_{i+1} = h_i + R_i a_i, out = end(sum_i S_i a_i), h_0 = start(x)

    One linear map of the condition serves all layers; R_i and S_i are one map, and the
    last layer has S_i only. An output sees `reach()` positions to each side. No weight
    normalisation: the counts are those of the network that samples, from which the
    paper has removed it.

    Args:
      layers: L.
      channels: of h and a.
      taps: of the dilated convolutions.
      zero: `end` starts at 0, as in a flow, which then starts as its linear part.

    Reference: Prenger et al. (2018), section 2.2; Baranchuk et al. (2021), B.2.
    """

    layers: int = 8
    channels: int = 256
    taps: int = 3
    zero: bool = False

    def reach(self) -> int:
        """Positions to each side that an output sees."""
        return (self.taps // 2) * (2**self.layers - 1)

    @nn.compact
    def __call__(self, x: Series, features: int, cond: Context | None = None) -> Result:
        """Maps a series to `features` channels of the same length.

        Args:
          x: input.
          features: output channels.
          cond: `[batch, time, context]`.

        Raises:
          ValueError: for a condition of another length, none where the weights are
            those of a network with one, or no layers.
        """
        if self.layers < 1:
            raise ValueError(f"WaveNet(layers={self.layers}): expected at least 1")
        if cond is not None and cond.shape[:2] != x.shape[:2]:
            raise ValueError(
                f"condition of shape {cond.shape} for a series of {x.shape}: expected "
                "equal batch and length; upsample it first"
            )
        if cond is None and self.has_variable("params", "cond"):
            raise ValueError(
                "no condition for a WaveNet whose weights expect one: give `cond`, "
                "such as the mel spectrogram"
            )
        n = self.channels
        h = Conv(n, name="start")(x)
        context = self._context(cond)
        total = jnp.zeros_like(h)
        for i in range(self.layers):
            raw = Conv(2 * n, self.taps, 2**i, name=f"dilated_{i}")(h)
            if cond is not None:
                kernel, bias = context[i]
                raw += convolutions.convolve_dilated(cond, kernel) + bias
            gated = jnp.tanh(raw[..., :n]) * jax.nn.sigmoid(raw[..., n:])
            last = i == self.layers - 1
            out = Conv(n if last else 2 * n, name=f"res_skip_{i}")(gated)
            if not last:
                h += out[..., :n]
            total += out[..., -n:]
        return Conv(features, zero=self.zero, name="end")(total)

    def _context(self, cond: Context | None) -> list[tuple[Array, Array]]:
        """Kernel and bias of the condition for each layer, cut out of one.

        The map's whole output would be 2 L times as wide as h, and fill the cache.
        """
        if cond is None:
            return []
        width = 2 * self.channels
        one = Conv(width * self.layers, name="cond")
        kernel, bias = one.weights(cond.shape[-1])
        starts = range(0, width * self.layers, width)
        return [(kernel[..., s : s + width], bias[s : s + width]) for s in starts]


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
      centre: of the mel, which is taken off before.
      spread: of the mel, by which it is divided. Log-mels are far from 0, and what they
        have in common comes out of a new convolution as a hum of the period `hop`.

    Reference: Prenger et al. (2018), section 2.2 and released code; Baranchuk et al.
    (2021), released code, whose students keep the teacher's.
    """

    group: int = 8
    hop: int = 256
    taps: int = 1024
    features: int | None = None
    frozen: bool = False
    centre: float = 0.0
    spread: float = 1.0

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
        mel = (mel[:, :needed] - self.centre) / self.spread
        fine = convolutions.upsample(mel, kernel, self.hop)
        return squeeze.group(fine[:, :time] + bias, self.group)

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


def upsampler_of(model: Any, group: int, frozen: bool = False) -> MelUpsampler:
    """The upsampler that a model of sound names by its attributes.

    Args:
      model: has `hop`, `upsampler_taps`, `features`, `centre` and `spread`.
      group: see `MelUpsampler`.
      frozen: see `MelUpsampler`.
    """
    sizes = group, model.hop, model.upsampler_taps, model.features, frozen
    return MelUpsampler(*sizes, centre=model.centre, spread=model.spread)
