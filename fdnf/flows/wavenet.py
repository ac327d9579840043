"""WaveNet with Gaussian samples as a flow, and its inverse, a parallel vocoder."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors import linear_prediction
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Invert
from fdnf.bijectors.wave_affine import WaveAffine
from fdnf.flows.base import Latents, StackFlow
from fdnf.nets.causal_wavenet import CausalWaveNet
from fdnf.nets.wavenet import Grouped, upsampler_of
from fdnf.ops import conditions
from fdnf.ops.entering import Made
from fdnf.types import Context, Events, Given, Variables


class GaussianWaveNet(StackFlow):
    """One Gaussian a sample given those before it; densities in one pass.

        variables = flow.init(key, x, cond)  # x [batch, time, 1]: data
        flow.apply(variables, x, cond, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, cond, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, cond, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, x.shape, 1.0, cond, method="sample")

    x is a waveform `[batch, time, 1]` and cond a log-mel `[batch, frames, mels]` whose
    frame f is centred at sample f `hop`, of at least time / hop frames, which one
    transposed convolution brings to the rate of the samples. Without cond the flow is
    unconditional. Samples come one after the other, each in one step of every layer.

    Args:
      steps: networks in a row, all in the order of time, so that a sample given those
        before it is Gaussian however many there are. One is the model of the
        literature.
      layers: of a cycle, see `CausalWaveNet`.
      cycles: of layers.
      channels: of the network.
      taps: of its dilated convolutions.
      front: samples that its first convolution sees.
      hop: samples a frame of the mel, the upsampler's stride.
      upsampler_taps: of the upsampler, see `MelUpsampler`.
      features: channels of the upsampled mel; None for as many as it has.
      centre: of the mel, see `MelUpsampler`.
      spread: of the mel.
      bound: largest |log-scale|, over the unit of `WaveAffine`.
      prediction: order of the linear prediction from the mel whose excitation the
        networks model, see `LinearPrediction`; 0 for the waveform itself.
      rate: samples a second, for `prediction`; likewise the two that follow.
      n_fft: samples of the mel's transform.
      high: Hz, where the mel's last filter ends.
      upsampled: cond is what `upsample` gives, to leave the upsampling out.

    Reference: van den Oord et al. (2016), WaveNet; Ping et al. (2018), ClariNet,
    section 3.1, with one transposed convolution in place of two.
    """

    takes_statistics: ClassVar[bool] = True
    condition_axes = (conditions.FRAMES,)
    event_axes = ("time", "channels")

    steps: int = 1
    layers: int = 10
    cycles: int = 2
    channels: int = 128
    taps: int = 2
    front: int = 32
    hop: int = 256
    upsampler_taps: int = 1024
    features: int | None = None
    centre: float = 0.0
    spread: float = 1.0
    bound: float = 7.0
    prediction: int = 0
    rate: int = 22050
    n_fft: int = 1024
    high: float = 8000.0
    upsampled: bool = False

    def _made_with(self, params: Any) -> Made | None:
        first = params["stack"]["parts_0"]
        net = first.get("bijector", first)["net"]
        cond = net.get("context_kernel")
        if cond is None:
            return Made((None, 1), None)
        width = cond.shape[-2]
        if not self.upsampled:
            width = params["upsampler"]["kernel"].shape[-2]
        return Made((None, 1), (None, width))

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """One latent, of the shape of the data.

        Raises:
          ValueError: for other than a waveform.
        """
        if len(event) != 2 or event[1] != 1:
            raise ValueError(
                f"data of shape {event}: expected a waveform (time, 1), of a batch "
                "[batch, time, 1]"
            )
        return (event,)

    def setup(self):
        """Makes the upsampler and the stack."""
        super().setup()
        self.upsampler = upsampler_of(self, 1)
        self.predictor = linear_prediction.of_model(self)

    def _stack(self) -> Chain:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: expected at least 1")
        return Chain(tuple(self._affine() for _ in range(self.steps)))

    def _affine(self) -> Bijector:
        net = CausalWaveNet(
            self.layers, self.cycles, self.channels, self.taps, self.front
        )
        return WaveAffine(net, self.bound)

    def upsample(self, cond: Context, time: int) -> Grouped:
        """The condition of `time` samples, as a flow with `upsampled=True` takes it."""
        return self.upsampler(cond, time)

    def conditionals(
        self, x: Given, cond: Given | None = None
    ) -> tuple[Latents, Latents]:
        """Shift and log-scale of every step, of each sample given those before it.

        Args:
          x: data `[batch, time, 1]`.
          cond: as of `encode`.

        Returns:
          Means and log-scales, those of the step next to the noise first, that of the
          linear prediction, if there is one, last: of these
          `losses.gaussian_conditionals.compose` makes the one Gaussian of x_t given
          x_{<t}.

        Raises:
          ValueError: as `encode`.
        """
        x = self._given_data(x)
        cond = self._given_condition(cond, x.shape[0])
        context = self._context(cond, x.shape[1])
        means, log_scales = [], []
        steps = [(part, context) for part in self.stack.parts]
        if self.predictor is not None:
            steps.insert(0, (self.predictor, cond))
        for part, given in steps:
            mean, log_scale = part.conditionals(x, given)
            x = (x - mean) * jnp.exp(-log_scale)
            means.insert(0, mean)
            log_scales.insert(0, log_scale)
        return tuple(means), tuple(log_scales)

    def _context(self, cond: Context | None, time: int) -> Array | None:
        if cond is None or self.upsampled:
            return cond
        return self.upsampler(cond, time)

    def _encode(self, x: Events, cond: Context | None):
        context = self._context(cond, x.shape[1])
        if self.predictor is None:
            return super()._encode(x, context)
        excitation, change = self.predictor.forward(x, cond)
        z, log_det, levels = super()._encode(excitation, context)
        return z, log_det + change, levels

    def _decode(self, z: Latents, cond: Context | None):
        x, log_det, levels = super()._decode(z, self._context(cond, z[0].shape[1]))
        if self.predictor is None:
            return x, log_det, levels
        x, change = self.predictor.inverse(x, cond)
        return x, log_det + change, levels


class WaveIAF(GaussianWaveNet):
    """The same networks the other way round: samples in one pass.

        variables = flow.init(key, x, cond)  # x [batch, time, 1]: data
        flow.apply(variables, x, cond, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, cond, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, cond, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, x.shape, 1.0, cond, method="sample")

    GaussianWaveNet with each step inverted, and nothing more: x_t = (z_t - m(z_{<t}))
    exp(-s(z_{<t})). The published ones are six steps of ten layers of 64 channels
    (Huang et al.), and four of 10, 10, 10 and 30 (ClariNet).

    Reference: Ping et al. (2018), section 3.2; Huang et al. (2019), section 4.1.4.
    """

    steps: int = 6
    cycles: int = 1
    channels: int = 64

    def inherit(self, variables: Variables, teacher: Variables) -> Variables:
        """The student's variables with the teacher's upsampler as a start.

        Args:
          variables: the student's.
          teacher: of a `GaussianWaveNet`.

        Returns:
          A new tree; `variables` where the teacher has no upsampler of that shape.
        """
        own, theirs = (tree["params"].get("upsampler") for tree in (variables, teacher))
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (own, theirs)]
        if own is None or shapes[0] != shapes[1]:
            return variables
        return {**variables, "params": {**variables["params"], "upsampler": theirs}}

    def conditionals(
        self, z: Given, cond: Given | None = None
    ) -> tuple[Latents, Latents]:
        """Shift and log-scale of every step, of each sample given the noise before it.

        Args:
          z: latents, as of `decode`.
          cond: as of `decode`.

        Returns:
          Means and log-scales, those of the step next to the noise first, of which the
          Gaussian of x_t given z_{<t} is made as for a `GaussianWaveNet`.

        Raises:
          ValueError: as `decode`.
        """
        (u,) = self._given_latents(z)
        cond = self._given_condition(cond, u.shape[0])
        context = self._context(cond, u.shape[1])
        means, log_scales = [], []
        for part in reversed(self.stack.parts):
            # Of the step from data to noise; it is run the other way.
            mean, log_scale = part.bijector.conditionals(u, context)
            scale = jnp.exp(-log_scale)
            u = (u - mean) * scale
            means.append(-mean * scale)
            log_scales.append(-log_scale)
        if self.predictor is not None:
            x, _ = self.predictor.inverse(u, cond)
            mean, log_scale = self.predictor.conditionals(x, cond)
            means.append(mean)
            log_scales.append(log_scale)
        return tuple(means), tuple(log_scales)

    def _affine(self) -> Bijector:
        return Invert(super()._affine())
