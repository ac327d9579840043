"""Densities of sound, window by window: of recordings, and of what a student draws."""

import functools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data import speech as windows_of
from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.scorers.clips import Judged
from fdnf.evaluation.scorers.context import Context
from fdnf.evaluation.scorers.speech import SEED, judged_of
from fdnf.flows.base import FlowModule
from fdnf.losses import density
from fdnf.train import teachers, transfer, validation
from fdnf.train.teachers import Trained


def likelihood(context: Context) -> Iterator[Score]:
    """Negative log density of each clip; see `nll`."""
    judged = judged_of(context.whole)
    key = ("nll", context.method)
    found = context.whole.once(key, lambda: nll(context.trained, judged))
    if found is not None:
        for name, value in zip(judged.names, found[context.run], strict=True):
            yield Score("nll", value, "test", item=name)


def divergence(context: Context) -> Iterator[Score]:
    """KL of a student from its teacher in nats a second of its own sound, clip by clip.

    Of the windows that `nll` takes: the student draws at temperature 1, given the mel
    of the recording, and log q - log p of what it drew is averaged.
    """
    trained, teacher = context.trained, context.teacher
    # Feed-forward students have no density.
    density_too = isinstance(trained.flow, FlowModule)
    if not _samples(trained) or not density_too or teacher is None:
        return
    judged, segment = judged_of(context.whole), trained.event[0]
    rows, counts = _windows(judged, segment)
    if not len(rows):
        return
    variables = [
        teachers.run_of(model, min(context.run, model.runs - 1))[1]
        for model in (trained, teacher)
    ]
    found, size = [], trained.config.eval.batch_size
    for i, (batch, mask) in enumerate(validation.padded_batches(rows, size)):
        batch = jnp.asarray(batch)
        noise = jax.random.fold_in(jax.random.key(SEED), i)
        log_mel = trained.preprocess.condition(batch)
        of = trained.flow, teacher.flow, segment, *variables, noise, log_mel
        found.append(np.asarray(_log_ratio(*of), np.float64)[mask])
    nats = _by_clip(judged.rate / segment * np.concatenate(found), counts)
    for name, value in zip(judged.names, nats, strict=True):
        yield Score("reverse_kl_second", value, "test", item=name)


def nll(trained: Trained, judged: Judged) -> list[tuple[float, ...]] | None:
    """Negative log density a sample in nats, of each run, of each clip.

    Of windows as long as those of training, side by side, with the noise of training;
    what is left of a clip does not count. Densities are those of waveforms in [-1, 1).

    Returns:
        For each run one value a clip, nan of a clip shorter than a window; None of a
        model without a density, or whose density is slow: a parallel sampler's.
    """
    if not isinstance(trained.flow, FlowModule) or _samples(trained):
        return None
    segment = trained.event[0]
    rows, counts = _windows(judged, segment)
    if not len(rows):
        return [(math.nan,) * len(counts) for _ in range(trained.runs)]
    log_prob = validation.make_log_prob(
        trained.flow, trained.config.eval.batch_size, trained.preprocess
    )
    params, constants = (trained.variables[k] for k in ("params", "constants"))
    found = -np.asarray(log_prob(params, constants, rows), np.float64) / segment
    return [_by_clip(run, counts) for run in found]


def _samples(trained: Trained) -> bool:
    """Whether a model learned to draw what its teacher judges."""
    return trained.config.loss.method in transfer.METHODS


def _windows(judged: Judged, segment: int) -> tuple[np.ndarray, list[int]]:
    """All windows of all clips, `[windows, segment]`, and how many each clip has."""
    windows = [
        windows_of.windows(clip, segment) if len(clip) >= segment else clip[:0, None]
        for clip in judged.clips
    ]
    none = np.zeros((0, segment), np.int16)
    rows = np.concatenate([none, *(each for each in windows if len(each))])
    return rows, [len(each) for each in windows]


def _by_clip(values: np.ndarray, counts: Sequence[int]) -> tuple[float, ...]:
    """Means over the windows of each clip, nan where it has none."""
    parts = np.split(values, np.cumsum(counts)[:-1])
    return tuple(float(part.mean()) if len(part) else math.nan for part in parts)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _log_ratio(student, teacher, time, variables, fixed, key, log_mel):
    """What a student draws given mels: log q - log p, `[batch]`, in nats."""
    z = student.apply(variables, key, (len(log_mel), time, 1), 1.0, method="draw")
    made = student.apply(variables, z, log_mel, method="decode")
    log_p = teacher.apply(fixed, made.x, log_mel, method="log_prob")
    return density.standard_normal(z) - made.log_det - log_p
