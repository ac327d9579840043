"""WaveGlow: a flow on grouped audio under a mel spectrogram, with early outputs."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors import linear_prediction
from fdnf.bijectors.combinators import Chain, Repeat
from fdnf.bijectors.coupling import WaveCoupling
from fdnf.bijectors.invertible_conv import FoldedConv, RotationConv
from fdnf.flows.base import FlowModule, Latents
from fdnf.nets.wavenet import Grouped, WaveNet, upsampler_of
from fdnf.ops import conditions, squeeze
from fdnf.ops.entering import Made
from fdnf.types import Context, Events, Passed


class WaveGlow(FlowModule):
    """Grouped samples pass K steps, and every few steps some channels leave.

        variables = flow.init(key, x, cond)  # x [batch, time, 1]: data
        flow.apply(variables, x, cond, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, cond, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, cond, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, x.shape, 1.0, cond, method="sample")

    A step is an invertible 1x1 convolution and a coupling whose WaveNet sees the
    upsampled, grouped mel. Before the steps number `early_every`, 2 `early_every`, ...
    the leading `early_size` channels become a latent; going back, each is put in front
    again. Latents are (split off first, ..., the top), all standard normal; `levels`
    are the activations after each run of steps of one width, before its split.

    x is a waveform `[batch, time, 1]`, `group` dividing the time; cond a log-mel
    `[batch, frames, mels]` whose frame f is centred at sample f `hop`, of at least
    time / hop frames. Without cond the flow is unconditional.

    Weight normalisation of the released code is left out: it is another way to write
    the same weights, which the paper removes to sample. Steps of one width are one
    loop (see `Repeat`), so that a deep flow compiles in as many parts as it has
    widths.

    Args:
      flows: K.
      early_every: steps between early outputs.
      early_size: channels of each.
      group: samples that become channels of one position.
      layers: of each WaveNet.
      channels: of each WaveNet.
      taps: of the dilated convolutions.
      hop: samples a frame of the mel, the upsampler's stride.
      upsampler_taps: of the upsampler, see `MelUpsampler`.
      features: channels of the upsampled mel; None for as many as it has, as
        published. Few make a small flow cheap, whose WaveNets else spend most of
        their time on the condition.
      centre: of the mel, see `MelUpsampler`.
      spread: of the mel.
      bound: of log_s, see `WaveCoupling`.
      prediction: order of the linear prediction from the mel whose excitation the steps
        model, see `LinearPrediction`; 0 for the waveform itself, as published.
      rate: samples a second, for `prediction`; likewise the two that follow.
      n_fft: samples of the mel's transform.
      high: Hz, where the mel's last filter ends.
      folded: parameters are those of `surgery.fold`, made for sampling.
      upsampled: cond is what `upsample` gives, to leave the upsampling out.
      unroll: see `Repeat`.
      remat: see `Repeat`.

    Reference: Prenger et al. (2018); sizes by Baranchuk et al. (2021), table 2; after
    linear prediction: Oh et al. (2020), ExcitGlow.
    """

    condition_axes = (conditions.FRAMES,)

    flows: int = 12
    early_every: int = 4
    early_size: int = 2
    group: int = 8
    layers: int = 8
    channels: int = 256
    taps: int = 3
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
    folded: bool = False
    upsampled: bool = False
    unroll: int | None = 1
    remat: bool = True

    def __post_init__(self):
        given = (
            f"WaveGlow(flows={self.flows}, early_every={self.early_every}, "
            f"early_size={self.early_size}, group={self.group})"
        )
        if min(self.flows, self.early_every, self.early_size) < 1:
            raise ValueError(f"{given}: expected each to be at least 1")
        left = self.group - self.early_size * ((self.flows - 1) // self.early_every)
        if left < 2:
            raise ValueError(
                f"{given}: {left} channels would reach the last step, expected at "
                "least 2; raise group or early_every"
            )
        super().__post_init__()

    def _made_with(self, params: Any) -> Made | None:
        cond = params["stages_0"]["step"]["parts_1"]["conditioner"].get("cond")
        if cond is None:
            return Made((None, 1), None)
        width = cond["kernel"].shape[-2]
        if not self.upsampled:
            width = params["upsampler"]["kernel"].shape[-2]
        return Made((None, 1), (None, width))

    def _lengths(self) -> tuple[int, ...]:
        """Steps of each stage."""
        starts = range(0, self.flows, self.early_every)
        return tuple(min(self.early_every, self.flows - start) for start in starts)

    def setup(self):
        """Makes the upsampler and the stages."""
        self.upsampler = upsampler_of(self, self.group)
        self.predictor = linear_prediction.of_model(self)
        self.stages = [self._stage(length) for length in self._lengths()]

    def _stage(self, length: int) -> Repeat:
        linear = FoldedConv() if self.folded else RotationConv()
        net = WaveNet(self.layers, self.channels, self.taps, zero=True)
        step = Chain((linear, WaveCoupling(net, self.bound)))
        return Repeat(step, length, self.unroll, self.remat)

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shapes of the early outputs and of the top."""
        self._check(event)
        groups = event[0] // self.group
        early = len(self._lengths()) - 1
        top = self.group - early * self.early_size
        return (*((groups, self.early_size),) * early, (groups, top))

    def upsample(self, cond: Context, time: int) -> Grouped:
        """The condition of `time` samples, as a flow with `upsampled=True` takes it."""
        return self.upsampler(cond, time)

    def _check(self, event: tuple[int, ...]) -> None:
        if len(event) != 2 or event[1] != 1 or event[0] % self.group:
            raise ValueError(
                f"data of shape {event}: expected a waveform (time, 1) whose length "
                f"group={self.group} divides"
            )

    def _context(self, cond: Context | None, time: int) -> Array | None:
        if cond is None or self.upsampled:
            return cond
        return self.upsampler(cond, time)

    def _passed(self, levels: Latents) -> Passed:
        last = len(levels) - 1
        return Passed(
            tuple(
                (self.early_size if i < last else 0, level.shape[-1])
                for i, level in enumerate(levels)
            )
        )

    def _encode(self, x: Events, cond: Context | None):
        context = self._context(cond, x.shape[1])
        log_det = jnp.zeros(x.shape[:1], x.dtype)
        if self.predictor is not None:
            x, log_det = self.predictor.forward(x, cond)
        h = squeeze.group(x, self.group)
        z, levels = [], []
        for i, stage in enumerate(self.stages):
            if i:
                z.append(h[..., : self.early_size])
                h = h[..., self.early_size :]
            h, change = stage.forward(h, context)
            log_det += change
            levels.append(h)
        return (*z, h), log_det, tuple(levels)

    def _decode(self, z: Latents, cond: Context | None):
        *early, h = z
        context = self._context(cond, h.shape[1] * self.group)
        log_det, levels = jnp.zeros(h.shape[:1], h.dtype), []
        for i in reversed(range(len(self.stages))):
            levels.append(h)
            h, change = self.stages[i].inverse(h, context)
            log_det += change
            if i:
                h = jnp.concatenate([early[i - 1], h], axis=-1)
        x = squeeze.ungroup(h, self.group)
        if self.predictor is not None:
            x, change = self.predictor.inverse(x, cond)
            log_det += change
        return x, log_det, tuple(reversed(levels))
