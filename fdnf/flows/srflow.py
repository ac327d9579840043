"""SRFlow: high-resolution images given low-resolution ones."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Repeat, Squeeze
from fdnf.bijectors.coupling import AffineInjector, Coupling
from fdnf.bijectors.invertible_conv import FoldedConv, InvertibleConv
from fdnf.flows import base
from fdnf.flows.base import FlowModule, Latents
from fdnf.flows.multiscale import SplitPrior
from fdnf.nets import rrdb
from fdnf.nets.conv import ConvBlock, FeatureBlock, check_dtype
from fdnf.ops import conditions, latents
from fdnf.ops.entering import Ints, Made
from fdnf.types import Decoding, Encoding, Events, Given, Passed

Maps = tuple[Array, ...]


class SRFlow(FlowModule):
    """A conditional multi-scale Glow on the feature maps of an encoder.

        variables = flow.init(key, x, cond)  # x [batch, height, width, channels]: data
        flow.apply(variables, x, cond, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, cond, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, cond, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, x.shape, 1.0, cond, method="sample")

    `cond` are low-resolution images `[batch, height / scale, width / scale, channels]`
    in [0, 1]. Level l works on images halved l times and sees the encoder's map of
    that size. From data to latent it is a squeeze; `transitions` pairs of activation
    norm and 1x1 convolution; `steps` steps of activation norm, 1x1 convolution,
    injector (moved by the map alone) and coupling (conditioned on the map too); and
    a split with a learned Gaussian, except for the last two levels. Latents are
    (split off after level 1, ..., level L - 2, the top), all standard normal.

    All scales are bounded in both directions. `init` needs a real batch of pairs.

    Many samples of the same images, noise `z` with a leading axis of samples:

        jax.vmap(lambda z: flow.apply(variables, z, cond, method="decode").x)(z)

    runs once what depends on `cond` alone: the encoder, the injectors' networks and
    most of the couplings' first convolutions. Calls apart share the encoder through
    `maps`.

    Args:
      scale: enlargement, 4 or 8 as published; any power of 2.
      levels: L, at most log2(scale) + 1, which is published.
      steps: K, conditional steps of each level.
      transitions: unconditional steps that begin each level.
      hidden: channels of the networks in the steps.
      features: channels of the encoder.
      blocks: the encoder's RRDBs.
      growth: channels that each convolution adds in their dense blocks.
      rdbs: dense blocks of an RRDB.
      convs: convolutions of a dense block.
      taps: the encoder's blocks that the maps contain; (1, 3, 5, 7) for scale 8.
      floor: smallest scale of injectors and couplings.
      dtype: of the networks' arithmetic, "float32" or "bfloat16"; all else is
        float32 in any case.
      folded: parameters are those of `surgery.fold`, made for sampling.
      unroll: see `Repeat`.
      remat: see `Repeat`; also of the encoder's blocks.

    The defaults are the published model of scale 4.

    Reference: Lugmayr et al. (2020), SRFlow, section 3 and released code; Baranchuk
    et al. (2021), section 3.1.
    """

    takes_statistics: ClassVar[bool] = True
    condition_axes = (conditions.IMAGE,)

    scale: int = 4
    levels: int = 3
    steps: int = 16
    transitions: int = 2
    hidden: int = 64
    features: int = 64
    blocks: int = 23
    growth: int = 32
    rdbs: int = 3
    convs: int = 5
    taps: Ints = (1, 8, 15, 22)
    floor: float = 1e-4
    dtype: str = "float32"
    folded: bool = False
    unroll: int | None = 1
    remat: bool = True

    def __post_init__(self):
        check_dtype("SRFlow", self.dtype)
        if self.scale < 2 or self.scale & (self.scale - 1):
            raise ValueError(f"scale={self.scale}: expected a power of 2, e.g. 4 or 8")
        most = int(math.log2(self.scale)) + 1
        if not 1 <= self.levels <= most:
            raise ValueError(
                f"levels={self.levels} with scale={self.scale}: expected 1 to {most}, "
                "as many as the encoder has maps for"
            )
        if self.steps < 1 or self.transitions < 0:
            raise ValueError(
                f"steps={self.steps}, transitions={self.transitions}: expected at "
                "least one step and no fewer than 0 transitions"
            )
        super().__post_init__()

    def setup(self):
        """Makes the encoder, the levels and the priors of their splits."""
        self.encoder = rrdb.Encoder(
            scale=self.scale,
            features=self.features,
            blocks=self.blocks,
            growth=self.growth,
            rdbs=self.rdbs,
            convs=self.convs,
            taps=tuple(self.taps),
            dtype=None if self.dtype == "float32" else self.dtype,
            remat=self.remat,
        )
        self.stacks = [self._level() for _ in range(self.levels)]
        self.priors = [SplitPrior() for _ in range(self._splits())]

    def _splits(self) -> int:
        return max(self.levels - 2, 0)

    def _passed(self, levels: Latents) -> Passed:
        return base.leading_halves(levels, self._splits())

    def _level(self) -> Chain:
        # Made anew for each use: one object in two places would be one set of weights.
        def linear():
            return (FoldedConv(),) if self.folded else (ActNorm(), InvertibleConv())

        dtype = None if self.dtype == "float32" else self.dtype
        norm = not self.folded
        step = Chain(
            (
                *linear(),
                AffineInjector(ConvBlock(self.hidden, norm, dtype), self.floor),
                Coupling(FeatureBlock(self.hidden, norm, dtype), floor=self.floor),
            )
        )
        parts: list[Bijector] = [Squeeze()]
        if self.transitions:
            opening = Chain(linear())
            parts.append(Repeat(opening, self.transitions, self.unroll, self.remat))
        parts.append(Repeat(step, self.steps, self.unroll, self.remat))
        return Chain(tuple(parts))

    @property
    def multiple(self) -> int:
        """Of which the sides of images have to be multiples."""
        return max(self.scale, 2**self.levels)

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shapes of what is split off, and of the top.

        Raises:
          ValueError: for events that are not images whose sides both `scale` and
            2^levels divide.
        """
        self._check(event)
        return latents.split_shapes(event, self.levels, self._splits())

    def _made_with(self, params: Any) -> Made | None:
        step = params["stacks_0"][f"parts_{1 + bool(self.transitions)}"]["step"]
        channels = step["parts_0"]["bias"].shape[-1] // 4
        low = params["encoder"]["conv_first"]["kernel"].shape[-2]
        return Made((None, None, channels), (None, None, low))

    def maps(self, cond: Given | None) -> Maps:
        """What `encode` and `decode` take from `cond`, one map a level.

        They accept it in place of `cond`: the encoder then runs once for many calls.

        Raises:
          ValueError: if `cond` are not images of sides that the levels can halve.
        """
        if cond is None or jnp.ndim(cond) not in (3, 4):
            given = None if cond is None else jnp.shape(cond)
            raise ValueError(
                f"SRFlow with a condition of {given}: expected low-resolution images "
                "[batch, height, width, channels] in [0, 1]"
            )
        images: Any = self._given_condition(cond, None)
        return self.encoder(images, tuple(range(1, self.levels + 1))).maps

    def encode(
        self, x: Given, cond: Given | None = None, *, maps: Maps | None = None
    ) -> Encoding:
        """Images to latents, with the exact density of the images given `cond`.

        Args:
          x: high-resolution images in [0, 1].
          cond: low-resolution images.
          maps: of `maps(cond)`, instead of `cond`.
        """
        x = self._given_data(x)
        maps = _of_rows(self.maps(cond) if maps is None else maps, x.shape[0])
        z, log_det, levels = self._to_latents(x, maps)
        prior = base.standard_normal_log_prob(z)
        return Encoding(z, log_det, levels, prior, self._passed(levels))

    def decode(
        self,
        z: Given,
        cond: Given | None = None,
        *,
        residual: bool = False,
        maps: Maps | None = None,
    ) -> Decoding:
        """Latents to images, not clipped to [0, 1].

        Args:
          z: one array a latent, see `latent_shapes`.
          cond: low-resolution images.
          residual: also report the round-trip error of each row.
          maps: of `maps(cond)`, instead of `cond`.
        """
        z = self._given_latents(z)
        maps = _of_rows(self.maps(cond) if maps is None else maps, z[0].shape[0])
        x, log_det, levels = self._from_latents(z, maps)
        error = base.largest_gap(self._to_latents(x, maps)[0], z) if residual else None
        return Decoding(x, log_det, levels, error)

    def _to_latents(self, x: Events, maps: Maps):
        self._check_maps(maps, x.shape[0], x.shape[1:3])
        h, log_det = x, jnp.zeros(x.shape[:1], x.dtype)
        z, levels = [], []
        for i, stack in enumerate(self.stacks):
            h, change = stack.forward(h, maps[i])
            log_det += change
            levels.append(h)
            if i < len(self.priors):
                passed = h.shape[-1] // 2
                h, rest = h[..., :passed], h[..., passed:]
                latent, change = self.priors[i].standardize(h, rest)
                log_det += change
                z.append(latent)
        return (*z, h), log_det, tuple(levels)

    def _from_latents(self, z: Latents, maps: Maps):
        *rest, h = z
        times = 2**self.levels
        self._check_maps(maps, len(h), (times * h.shape[1], times * h.shape[2]))
        log_det = jnp.zeros(h.shape[:1], h.dtype)
        levels = []
        for i in reversed(range(self.levels)):
            if i < len(self.priors):
                restored, change = self.priors[i].restore(h, rest[i])
                log_det += change
                h = jnp.concatenate([h, restored], axis=-1)
            levels.append(h)
            h, change = self.stacks[i].inverse(h, maps[i])
            log_det += change
        return h, log_det, tuple(reversed(levels))

    def _check(self, event: tuple[int, ...]) -> None:
        times = self.multiple
        if len(event) != 3 or any(side % times for side in event[:2]):
            raise ValueError(
                f"SRFlow with scale={self.scale}, levels={self.levels} on data of "
                f"shape {event}: expected (height, width, channels) with sides that "
                f"{times} divides; crop the images"
            )

    def _check_maps(self, maps: Maps, rows: int, sides: tuple[int, ...]) -> None:
        """Maps of the first level are half as large as the images."""
        if len(maps) != self.levels:
            raise ValueError(
                f"{len(maps)} maps: expected {self.levels}, one a level, of `maps`"
            )
        given = (maps[0].shape[0], 2 * maps[0].shape[1], 2 * maps[0].shape[2])
        if given != (rows, *sides):
            low = tuple(side // self.scale for side in given[1:])
            raise ValueError(
                f"{given[0]} low-resolution images of {low} for {rows} images of "
                f"{tuple(sides)}: expected {given[0]} images of {given[1:]}, which are "
                f"scale={self.scale} times as large"
            )


def _of_rows(maps: Maps, rows: int) -> Maps:
    """Maps of one row, which was encoded once, are those of each row."""
    return tuple(
        jnp.broadcast_to(found, (rows, *found.shape[1:])) if len(found) == 1 else found
        for found in maps
    )
