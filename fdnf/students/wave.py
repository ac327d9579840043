"""WaveGlow's students: WaveNets one after another, and those of the ablation.

`WaveStudent` is what they share: latents, the mel's upsampling, the way to audio. The
students of the ablation keep some of a flow's restrictions.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.nets.wavenet import Conv, Grouped, WaveNet, upsampler_of
from fdnf.ops import conditioners, conditions, linear_prediction, squeeze
from fdnf.ops.entering import Ints, Made
from fdnf.students.base import Latents, Student
from fdnf.types import Context, Variables

Waveform = Float[Array, "batch time channels"]


class WaveStudent(Student):
    """A generator of waveforms that takes all of a WaveGlow's latents at once.

    The latents of one position stand side by side, the top first, then the early
    outputs in the order in which the teacher puts them in. The mel is upsampled by
    the teacher's own upsampler, which `inherit` takes over: it stands in `constants`,
    is neither trained nor counted, and passes no gradient.

    Subclasses give `_network(h, cond)`, from grouped latents to grouped audio.

    Args:
      layers: of each WaveNet.
      channels: of each WaveNet.
      blocks: how many of them.
      taps: of the dilated convolutions.
      latents: channels of each latent, in the teacher's order.
      fold: times of latents that stand side by side in the networks. A WaveGlow's are
        grouped already; those of a WaveNet, one a sample, are not.
      hop: samples a frame of the mel.
      upsampler_taps: of the teacher's upsampler.
      features: of the teacher's upsampler.
      centre: of the mel, see `MelUpsampler`; the teacher's.
      spread: of the mel; the teacher's.
      prediction: order of the linear prediction whose excitation the network gives, as
        that of a teacher with the same; 0 for the waveform itself, as published.
      rate: samples a second, for `prediction`; likewise the two that follow.
      n_fft: samples of the mel's transform.
      high: Hz, where the mel's last filter ends.
      upsampled: cond is what `upsample` gives, to leave the upsampling out.
      remat: keep only what goes from block to block for the gradient.

    Reference: Baranchuk et al. (2021), appendix B.2 and released code.
    """

    condition_axes = (conditions.FRAMES,)

    layers: int = 8
    channels: int = 96
    blocks: int = 4
    taps: int = 3
    latents: Ints = (2, 2, 4)
    fold: int = 1
    hop: int = 256
    upsampler_taps: int = 1024
    features: int | None = None
    centre: float = 0.0
    spread: float = 1.0
    prediction: int = 0
    rate: int = 22050
    n_fft: int = 1024
    high: float = 8000.0
    upsampled: bool = False
    remat: bool = True

    def __post_init__(self):
        sizes = (*self.latents, self.blocks, self.fold)
        if not self.latents or min(sizes) < 1:
            raise ValueError(
                f"{type(self).__name__}(latents={self.latents}, blocks={self.blocks}, "
                f"fold={self.fold}): expected the channels of at least one latent, and "
                "at least 1 of the others"
            )
        super().__post_init__()

    def _made_with(self, params: Any) -> Made | None:
        cond = params["stack"]["net"].get("cond")
        if cond is None:
            return Made((None, 1), None)
        width = cond["kernel"].shape[-2]
        if not self.upsampled:
            width = self.variables["constants"]["upsampler"]["kernel"].shape[-2]
        return Made((None, 1), (None, width))

    @property
    def group(self) -> int:
        """Samples of one position of the networks."""
        return sum(self.latents) * self.fold

    def setup(self):
        """Makes the upsampler."""
        self.upsampler = upsampler_of(self, self.group, frozen=True)

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shapes of the teacher's latents.

        Raises:
          ValueError: for other than a waveform whose length the group divides.
        """
        if len(event) != 2 or event[1] != 1 or event[0] % self.group:
            raise ValueError(
                f"data of shape {event}: expected a waveform (time, 1) whose length "
                f"{self.group} divides, {self.fold} times the sum of latents="
                f"{self.latents}"
            )
        times = event[0] // sum(self.latents)
        return tuple((times, part) for part in self.latents)

    def upsample(self, cond: Context, time: int) -> Grouped:
        """The condition of `time` samples, for a student with `upsampled=True`."""
        return self.upsampler(cond, time)

    def inherit(self, variables: Variables, teacher: Variables) -> Variables:
        """The student's variables with the teacher's upsampler.

        Args:
          variables: the student's.
          teacher: of a WaveGlow, folded or not, or of a `GaussianWaveNet`.

        Returns:
          A new tree; only `constants["upsampler"]` differs. That of a student without
          a condition is returned as it is.

        Raises:
          ValueError: if the teacher has no upsampler that fits.
        """
        own = variables.get("constants", {}).get("upsampler")
        if own is None:
            return variables
        theirs = teacher.get("params", {}).get("upsampler")
        shapes = [
            None if one is None else {k: jnp.shape(v) for k, v in one.items()}
            for one in (own, theirs)
        ]
        if theirs is None or shapes[0] != shapes[1]:
            raise ValueError(
                f"upsampler of the student {shapes[0]}, of the teacher {shapes[1]}: "
                "expected a conditional flow of sound of the same mels, hop, "
                "upsampler_taps and features"
            )
        # Copied, since training donates its buffers and the teacher keeps its own.
        copied = jax.tree.map(jnp.copy, theirs)
        constants = {**variables["constants"], "upsampler": copied}
        return {**variables, "constants": constants}

    def _generate(self, z: Latents, cond: Context | None) -> Waveform:
        """Waveforms of latents.

        Raises:
          ValueError: for latents other than the teacher's.
        """
        widths = tuple(part.shape[-1] for part in z)
        if widths != self.latents or any(part.ndim != 3 for part in z):
            raise ValueError(
                f"latents of shapes {[part.shape for part in z]}: expected "
                f"[batch, groups, channels] with channels {self.latents}"
            )
        h = squeeze.group(jnp.concatenate(z[::-1], axis=-1), self.fold)
        context = cond
        if cond is not None and not self.upsampled:
            context = self.upsampler(cond, h.shape[1] * self.group)
        x = squeeze.ungroup(self._network(h, context), self.group)
        if not self.prediction:
            return x
        settings = linear_prediction.mel_of(self)
        found = linear_prediction.predictor(x, cond, self.prediction, settings)
        return found.excited(x)

    def _network(self, h: Array, cond: Array | None) -> Array:
        raise NotImplementedError

    def _stack(self, block: nn.Module, h: Array, cond: Array | None) -> Array:
        """`blocks` blocks `block(h, cond) -> h`, one loop with weights of each."""

        def body(block, h, cond):
            return block(h, cond), None

        if self.remat:
            body = nn.remat(body, prevent_cse=False)
        scan = nn.scan(
            body,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,  # pyright: ignore[reportArgumentType]
            length=self.blocks,
        )
        return scan(block, h, cond)[0]


class WaveNetBlock(nn.Module):
    """A WaveNet from a series to one of the same channels, nothing around it."""

    layers: int
    channels: int
    taps: int

    @nn.compact
    def __call__(self, h: Array, cond: Array | None = None) -> Array:
        """The WaveNet's output."""
        net = WaveNet(self.layers, self.channels, self.taps, name="net")
        return net(h, h.shape[-1], cond)


class WaveNetStudent(WaveStudent):
    """Coupling layers replaced by WaveNets on a wide representation.

    A linear map to `channels`, `blocks` WaveNets without shortcuts around them, a
    linear map to the samples of a group. The published ones are V1 (4 blocks of 128
    channels), V2 (4 of 96) and V3 (2 of 96).

    Reference: Baranchuk et al. (2021), figure 2d, appendix B.2, table 2.
    """

    @nn.compact
    def _network(self, h: Array, cond: Array | None) -> Array:
        h = Conv(self.channels, name="in_proj")(h)
        block = WaveNetBlock(self.layers, self.channels, self.taps, name="stack")
        h = self._stack(block, h, cond)
        return Conv(self.group, name="out_proj")(h)


class AffineBlock(nn.Module):
    """(h2 - b) / exp(log_s), then a linear map with a bias.

    With a partition, (b, log_s) come from the leading half, which passes unchanged,
    and move the other; without, they come from all channels and move all. The linear
    map is as wide as h and is under no constraint. log_s starts at 0, as a flow's.

    Args:
      layers: of the WaveNet.
      channels: of the WaveNet.
      taps: of its dilated convolutions.
      partition: halves, as a flow needs them.
      bound: log_s is softly clamped to (-bound, bound).
    """

    layers: int
    channels: int
    taps: int
    partition: bool
    bound: float = 7.0

    @nn.compact
    def __call__(self, h: Array, cond: Array | None = None) -> Array:
        """The block's output, of the same shape."""
        half = h.shape[-1] // 2 if self.partition else 0
        seen, moved = (h[..., :half], h[..., half:]) if half else (h, h)
        net = WaveNet(self.layers, self.channels, self.taps, zero=True, name="net")
        b, raw = jnp.split(net(seen, 2 * moved.shape[-1], cond), 2, axis=-1)
        moved = (moved - b) * jnp.exp(-conditioners.soft_clamp(raw, self.bound))
        h = jnp.concatenate([seen, moved], axis=-1) if half else moved
        return Conv(h.shape[-1], name="linear")(h)


class WaveFlowStudent(WaveStudent):
    """The teacher's layers, fewer and smaller, without early outputs.

    Reference: Baranchuk et al. (2021), figure 2a, appendix F, table 4 (a).
    """

    partition = True

    @nn.compact
    def _network(self, h: Array, cond: Array | None) -> Array:
        return self._stack(self._block(), h, cond)

    def _block(self) -> AffineBlock:
        return AffineBlock(
            self.layers, self.channels, self.taps, self.partition, name="stack"
        )


class WaveWideFlowStudent(WaveFlowStudent):
    """Coupling layers on a representation widened to `channels`: not invertible.

    Reference: Baranchuk et al. (2021), figure 2b, appendix F, table 4 (b).
    """

    @nn.compact
    def _network(self, h: Array, cond: Array | None) -> Array:
        h = Conv(self.channels, name="in_proj")(h)
        h = self._stack(self._block(), h, cond)
        return Conv(self.group, name="out_proj")(h)


class WaveAffineStudent(WaveFlowStudent):
    """Affine layers that see and move all channels: no cheap Jacobian.

    Reference: Baranchuk et al. (2021), figure 2c, appendix F, table 4 (c).
    """

    partition = False
