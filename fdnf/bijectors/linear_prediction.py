"""Waveforms by linear prediction, whose coefficients a mel spectrogram says."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector, Inspection, Moves
from fdnf.ops import linear_prediction, mel
from fdnf.types import Context, LogDet

Waveform = Float[Array, "batch time channels"]


class LinearPrediction(Bijector):
    """e_t = (x_t - sum_k a_k x_{t-k}) / g, with a and g those of the nearest frame.

    It has no parameters. A network that models the excitation e has neither to learn
    the mel's envelope nor its loudness. `forward` filters all samples at once;
    `inverse` goes from frame to frame, a few products each. The Jacobian is triangular
    in time.

    Args:
      order: taps of a predictor. At 8,000 samples a second 16 follow the resonances of
        a voice, 32 its lower harmonics too.
      settings: of the mel, which is the condition; of any number of mels.

    Reference: under Gaussian samples of a WaveNet, Hwang et al. (2018), LP-WaveNet; see
    `ops.linear_prediction`.
    """

    order: int
    settings: mel.Settings = mel.DEFAULT

    def forward(
        self, x: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, LogDet]:
        """The excitation of a waveform, all samples at once."""
        mean, log_scale = self.conditionals(x, cond)
        e = (x - mean) * jnp.exp(-log_scale)
        return e, -jnp.sum(log_scale, axis=(1, 2))

    def inverse(
        self, y: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, LogDet]:
        """The waveform of an excitation, frame by frame."""
        found = self._predictor(y, cond)
        return found.excited(y), jnp.sum(found.log_gain, axis=(1, 2))

    def conditionals(
        self, x: Waveform, cond: Context | None = None
    ) -> tuple[Waveform, Waveform]:
        """What is expected of each sample, and log g."""
        found = self._predictor(x, cond)
        return found.expected(x), found.log_gain

    def inspect_forward(self, x: Waveform, cond: Context | None = None) -> Inspection:
        """All samples at once."""
        log_gain = self._predictor(x, cond).log_gain
        return Inspection(*self.forward(x, cond), moves=Moves.of_elements(-log_gain))

    def inspect_inverse(self, y: Waveform, cond: Context | None = None) -> Inspection:
        """Frame by frame."""
        log_gain = self._predictor(y, cond).log_gain
        return Inspection(*self.inverse(y, cond), moves=Moves.of_elements(-log_gain))

    def _predictor(
        self, like: Array, cond: Context | None
    ) -> linear_prediction.Predictor:
        return linear_prediction.predictor(like, cond, self.order, self.settings)


def of_model(model: Any) -> LinearPrediction | None:
    """What a flow of sound has before its networks; None of one that predicts nothing.

    Args:
      model: see `ops.linear_prediction.mel_of`.
    """
    if not model.prediction:
        return None
    return LinearPrediction(model.prediction, linear_prediction.mel_of(model))
