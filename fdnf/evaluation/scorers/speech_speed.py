"""How many samples of audio a second a vocoder makes.

As Baranchuk et al. (2021), section 3.2: a batch, the flow's inverses precomputed, the
upsampling of the mel left out. Theirs is half precision and includes the denoiser of
the released WaveGlow; this is float32 without one.
"""

from typing import Any

import jax
import jax.numpy as jnp

from fdnf.evaluation.core.speech_records import Milliseconds, Speed
from fdnf.evaluation.models import timing
from fdnf.evaluation.models import vocoder as vocoders
from fdnf.evaluation.models.vocoder import Vocoder
from fdnf.flows.waveglow import WaveGlow
from fdnf.metrics import griffin_lim
from fdnf.ops import mel
from fdnf.train.teachers import Trained


def measure(trained: Trained, batch: int, seconds: float, repeats: int) -> Speed:
    """Times the first run of a model; a WaveGlow folded and as it was trained.

    Args:
        trained: the flow or student.
        batch: waveforms of a batch.
        seconds: of each.
        repeats: timed calls, fewer if they take long.

    Returns:
        Medians with tenth and ninetieth percentiles.
    """
    model = vocoders.of(trained)
    group = vocoders.group_of(model.flow)
    samples = group * max(1, round(seconds * model.settings.rate / group))
    whole_ms = ms = _from_mel(model, batch, samples, repeats)
    if hasattr(model.flow, "upsampled"):
        ms = _from_upsampled(model, batch, samples, repeats)
    unfolded_ms = None
    if isinstance(model.flow, WaveGlow):
        slow = vocoders.of(trained, fold=False)
        unfolded_ms = _from_upsampled(slow, batch, samples, repeats)
    return Speed(batch, samples, ms, whole_ms, unfolded_ms)


def of_griffin_lim(
    settings: mel.Settings, iterations: int, batch: int, seconds: float, repeats: int
) -> Speed:
    """Times Griffin and Lim's algorithm from the mel on."""
    frames = 1 + max(1, round(seconds * settings.rate / settings.hop))
    log_mel = _mel(settings, batch, frames)

    @jax.jit
    def invert(log_mel: Any, key: Any) -> Any:
        return griffin_lim.griffin_lim(log_mel, key, settings, iterations=iterations)

    key = jax.random.key(0)
    ms = timing.measure(invert, log_mel, key, repeats=repeats).in_ms()
    return Speed(batch, settings.hop * (frames - 1), ms, ms)


def _from_mel(model: Vocoder, batch: int, samples: int, repeats: int) -> Milliseconds:
    args = _inputs(model, batch, samples)
    call = _decode(model.flow)
    return timing.measure(call, model.variables, *args, repeats=repeats).in_ms()


def _from_upsampled(
    model: Vocoder, batch: int, samples: int, repeats: int
) -> Milliseconds:
    flow, variables = model.flow, model.variables
    z, log_mel = _inputs(model, batch, samples)
    cond: Any = flow.apply(variables, log_mel, samples, method="upsample")
    rest = _decode(flow.clone(upsampled=True))
    return timing.measure(rest, variables, z, cond, repeats=repeats).in_ms()


def _inputs(model: Vocoder, batch: int, samples: int) -> tuple[Any, Any]:
    shape = (batch, samples, 1)
    z = model.flow.apply(model.variables, jax.random.key(1), shape, 1.0, method="draw")
    return z, _mel(model.settings, batch, 1 + samples // model.settings.hop)


def _decode(flow: Any) -> Any:
    def call(variables: Any, z: Any, cond: Any) -> Any:
        return flow.apply(variables, z, cond, method="decode").x

    return jax.jit(call)


def _mel(settings: mel.Settings, batch: int, frames: int) -> Any:
    # About the mean and spread of speech; times do not depend on it.
    noise = jax.random.normal(jax.random.key(0), (batch, frames, settings.mels))
    return jnp.asarray(2 * noise - 6)
