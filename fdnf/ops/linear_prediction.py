"""Linear prediction of sound, with coefficients that a log-mel spectrogram says.

A log-mel tells how loud a frame is at each frequency. Of all filters of a few taps, the
one of linear prediction makes noise of that spectrum, and, run the other way, leaves of
the sound what the mel does not tell: its excitation, white and of variance about 1.

References: Makhoul (1975), "Linear prediction: a tutorial review"; from the condition
of a vocoder: Valin and Skoglund (2019), LPCNet, section 2.1.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fdnf.ops import convolutions, mel, stft

Waveform = Float[Array, "batch time channels"]
Mel = Float[Array, "batch frames mels"]

# A white floor under every spectrum: of its power, and in squared units of sound, that
# of one level of 16 bits. Both keep the filters stable.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-9
# Samples that are made at once, of which a filter's response is known.
_PART = 8
# Hz by which lines of the spectrum are widened.
_LAG = 20.0


class Filters(NamedTuple):
    """One predictor a frame, e_t = (x_t - sum_k a_k x_{t-k}) / g.

    Attributes:
      taps: a, `[batch, frames, order]`, the last sample's first.
      log_gain: log g, `[batch, frames]`.
    """

    taps: Float[Array, "batch frames order"]
    log_gain: Float[Array, "batch frames"]


class Predictor(NamedTuple):
    """Each sample of a waveform given those before it, by the nearest frame's filter.

    Attributes:
      filters: of as many frames as there are blocks of samples about frames.
      log_gain: of each sample, `[batch, time, 1]`.
      hop: samples a frame.
    """

    filters: Filters
    log_gain: Waveform
    hop: int

    def expected(self, x: Waveform) -> Waveform:
        """sum_k a_k x_{t-k}, all samples at once."""
        blocks = _blocks(x[..., 0], self.hop)
        found = _predicted(self.filters.taps, blocks)
        return _unblocked(found, self.hop, x.shape[1])

    def excited(self, e: Waveform) -> Waveform:
        """The waveform of an excitation, frame by frame."""
        driven = e * jnp.exp(self.log_gain)
        found = _excited(self.filters.taps, _blocks(driven[..., 0], self.hop))
        return _unblocked(found, self.hop, e.shape[1])


def mel_of(model: Any) -> mel.Settings:
    """The mel whose linear prediction a model of sound asks for.

    Args:
      model: has `prediction`, the order, `hop`, `rate`, `n_fft` and `high` of a mel
        whose window is as long as its transform, and `upsampled`.

    Raises:
      ValueError: for a mel that comes upsampled.
    """
    if model.upsampled:
        raise ValueError(
            f"{type(model).__name__}(prediction={model.prediction}, upsampled=True): "
            "predictors are made of the mel, which an upsampled condition is not; "
            "expected one of them"
        )
    return mel.Settings(
        rate=model.rate,
        n_fft=model.n_fft,
        hop=model.hop,
        window=model.n_fft,
        high=model.high,
    )


def predictor(
    like: Waveform, log_mels: Array | None, order: int, settings: mel.Settings
) -> Predictor:
    """What a mel says of a waveform of some length.

    Args:
      like: `[batch, time, 1]`.
      log_mels: `[batch, frames, mels]`, of at least time / hop frames, whose frame f is
        centred at sample f hop. Half a frame of sound may lie beyond the last, whose
        filter it then has.
      order: see `predictors`; static.
      settings: of the mel, but for `mels`; static.

    Raises:
      ValueError: for other shapes, or as `predictors`.
    """
    if like.ndim != 3 or like.shape[-1] != 1:
        raise ValueError(
            f"linear prediction of a waveform of shape {like.shape}: expected [batch, "
            "time, 1]"
        )
    if log_mels is None or log_mels.ndim != 3:
        shape = None if log_mels is None else log_mels.shape
        raise ValueError(
            f"linear prediction with a condition of shape {shape}: expected the log-"
            "mel [batch, frames, mels] that the predictors are made of"
        )
    time, hop = like.shape[1], settings.hop
    needed = -(-time // hop)
    if log_mels.shape[1] < needed:
        raise ValueError(
            f"{log_mels.shape[1]} frames of {hop} samples for {time} samples: expected "
            f"at least {needed}; is hop that of the mel?"
        )
    blocks = _count(time, hop)
    missing = max(0, blocks - log_mels.shape[1])
    kept = jnp.pad(log_mels[:, :blocks], ((0, 0), (0, missing), (0, 0)), mode="edge")
    settings = dataclasses.replace(settings, mels=kept.shape[-1])
    found = predictors(kept.astype(like.dtype), order, settings)
    gains = jnp.repeat(found.log_gain, hop, axis=1)[..., None]
    return Predictor(found, gains[:, hop // 2 : hop // 2 + time], hop)


def predictors(log_mels: Mel, order: int, settings: mel.Settings) -> Filters:
    """The predictor of each frame of a log-mel.

    The spectrum at a frequency lies between those of the filters beside it, in the
    logarithm; its autocorrelation gives a and g by Levinson and Durbin's recursion.

    Args:
      log_mels: as `mel.log_mel` gives them.
      order: taps; static.
      settings: of the mel; static.

    Raises:
      ValueError: for an order below 1, or beyond what the transform resolves.
    """
    if not 1 <= order < settings.n_fft:
        raise ValueError(
            f"order {order} of linear prediction: expected 1 to {settings.n_fft - 1}, "
            "less than the samples of a transform"
        )
    weights, areas, lags = _spectral(settings, order)
    dtype = log_mels.dtype
    log_power = 2 * convolutions.dot(
        log_mels - jnp.asarray(areas, dtype), jnp.asarray(weights, dtype)
    )
    # By the loudest frequency, so that no sound is too loud.
    top = jnp.max(log_power, axis=-1, keepdims=True)
    found = convolutions.dot(jnp.exp(log_power - top), jnp.asarray(lags, dtype))
    least = _ABSOLUTE * jnp.exp(-jnp.maximum(top[..., 0], np.log(_ABSOLUTE)))
    found = found.at[..., 0].multiply(1 + _RELATIVE).at[..., 0].add(least)
    taps, error = _levinson(found)
    return Filters(taps, 0.5 * (jnp.log(error) + top[..., 0]))


@functools.lru_cache(maxsize=16)
def _spectral(
    settings: mel.Settings, order: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From log-mels to log magnitudes, and from powers to autocorrelations."""
    filters = mel.filterbank(settings)
    areas = filters.sum(1)
    bins = np.arange(filters.shape[1])
    centres = filters @ bins / areas
    mels = len(centres)
    weights = np.stack([np.interp(bins, centres, row) for row in np.eye(mels)])
    window = stft.window("hann", settings.window, settings.n_fft).astype(np.float64)
    # The power of noise of variance 1 is the sum of squares of the window.
    k = np.arange(order + 1)
    turns = np.cos(2 * np.pi * bins[:, None] * k / settings.n_fft)
    twice = np.where((bins == 0) | (2 * bins == settings.n_fft), 1.0, 2.0)
    wide = np.exp(-0.5 * (2 * np.pi * _LAG / settings.rate * k) ** 2)
    lags = twice[:, None] * turns * wide / settings.n_fft / np.sum(window**2)
    return weights, np.log(areas), lags


def _levinson(correlations: Array) -> tuple[Array, Array]:
    """Taps `[..., order]` and the power of what they leave, of autocorrelations."""
    order = correlations.shape[-1] - 1
    ahead = correlations[..., 1:]

    def step(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        taps, error = carry

        # Of the first i in the opposite order; 0 or unused beyond.
        def turned(row: Array) -> Array:
            return jnp.roll(jnp.flip(row, -1), i - order, axis=-1)

        explained = jnp.sum(taps * turned(ahead), axis=-1)
        k = (lax.dynamic_index_in_dim(ahead, i, -1, keepdims=False) - explained) / error
        # Rounding may not make a filter unstable.
        k = jnp.clip(k, -0.9999, 0.9999)
        taps = taps - k[..., None] * turned(taps)
        at = jnp.arange(order) == i
        return (jnp.where(at, k[..., None], taps), error * (1 - k**2)), None

    start = jnp.zeros_like(ahead), correlations[..., 0]
    (taps, error), _ = lax.scan(step, start, jnp.arange(order))
    return taps, error


def _count(time: int, hop: int) -> int:
    """Blocks of `hop` samples about the frames, the first of which is half outside."""
    return -(-(time + hop // 2) // hop)


def _blocks(x: Array, hop: int) -> Array:
    """`[batch, time]` as `[batch, blocks, hop]`."""
    before, time = hop // 2, x.shape[1]
    after = _count(time, hop) * hop - before - time
    return jnp.pad(x, ((0, 0), (before, after))).reshape(len(x), -1, hop)


def _unblocked(blocks: Array, hop: int, time: int) -> Array:
    """Back to `[batch, time, 1]`."""
    whole = blocks.reshape(len(blocks), -1, 1)
    return whole[:, hop // 2 : hop // 2 + time]


def _predicted(taps: Array, blocks: Array) -> Array:
    """sum_k a_k x_{t-k} of every sample."""
    batch, count, hop = blocks.shape
    order = taps.shape[-1]
    whole = jnp.pad(blocks.reshape(batch, -1), ((0, 0), (order, 0)))
    before = np.arange(count)[:, None, None] * hop + np.arange(hop)[:, None]
    seen = whole[:, before + np.arange(order - 1, -1, -1)]
    return jnp.einsum("bfto,bfo->bft", seen, taps, precision="highest")


def _excited(taps: Array, blocks: Array) -> Array:
    """x_t = sum_k a_k x_{t-k} + u_t, of u in blocks.

    Blocks are cut into parts. Within one x is H (u + B s): s are the samples before it,
    B what they add where nothing else does, and H the filter's response, the same for
    all parts of a block. Parts follow each other.
    """
    batch, count, hop = blocks.shape
    order = taps.shape[-1]
    size = max(n for n in range(1, min(hop, _PART) + 1) if hop % n == 0)

    def respond(past: Array, t: Array) -> tuple[Array, Array]:
        now = jnp.sum(past * taps, axis=-1) + (t == 0)
        return jnp.concatenate([now[..., None], past[..., :-1]], axis=-1), now

    _, response = lax.scan(respond, jnp.zeros_like(taps), jnp.arange(size))
    row, column = np.arange(size)[:, None], np.arange(size)
    within = jnp.moveaxis(response, 0, -1)[..., np.maximum(row - column, 0)]
    within = jnp.where(row >= column, within, 0)
    # Of s in the order of time, s_m lies order - m samples before the part.
    lag = row + order - np.arange(order)
    before = jnp.where(lag <= order, taps[..., np.minimum(lag, order) - 1], 0)
    carried = jnp.einsum("bfij,bfjo->bfio", within, before, precision="highest")
    parts = blocks.reshape(batch, count, -1, size)
    driven = jnp.einsum("bfij,bfpj->bfpi", within, parts, precision="highest")

    def block(s: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
        carried, parts = given
        made = []
        for part in jnp.unstack(parts, axis=1):
            x = part + jnp.einsum("bio,bo->bi", carried, s, precision="highest")
            s = jnp.concatenate([s, x], axis=-1)[:, -order:]
            made.append(x)
        return s, jnp.concatenate(made, axis=-1)

    by_block = jax.tree.map(lambda each: jnp.moveaxis(each, 1, 0), (carried, driven))
    start = jnp.zeros((batch, order), blocks.dtype)
    _, x = lax.scan(block, start, by_block)
    return jnp.moveaxis(x, 0, 1)
