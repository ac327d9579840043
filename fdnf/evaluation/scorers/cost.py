"""What a batch costs a trained model: time and memory, of densities and samples."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models import timing
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.models.timing import Timing
from fdnf.evaluation.scorers import likelihood
from fdnf.evaluation.scorers.context import Context
from fdnf.train.teachers import Trained


class Cost(NamedTuple):
    """Time and peak memory of one batch; None what was not taken.

    Attributes:
        batch: its rows.
        sampling: of decoding latents, of a flow folded if it can be.
        sampling_mib: memory of that, in MiB.
        density: of the log density of stored rows.
        density_mib: memory of that, in MiB.
    """

    batch: int
    sampling: Timing
    sampling_mib: float | None
    density: Timing | None = None
    density_mib: float | None = None


def scores(context: Context) -> Iterator[Score]:
    """Of the first run alone: a copy beside the others would count as a measurement."""
    if context.run:
        return
    trained, stored = context.trained, context.data.test[: context.section.time_batch]
    found = measure(trained, stored, density=likelihood.rows(trained) != 0)
    for name, timing_, mib in (
        ("density", found.density, found.density_mib),
        ("sampling", found.sampling, found.sampling_mib),
    ):
        if timing_ is not None:
            median, low, high = timing_.in_ms()
            yield Score(f"{name}_ms", median, n=found.batch, low=low, high=high)
        if mib is not None:
            yield Score(f"{name}_mib", mib, n=found.batch)


def measure(trained: Trained, stored: np.ndarray, *, density: bool = True) -> Cost:
    """What a batch costs the first run of a model, jitted, on the default device.

    Args:
        trained: a flow or student.
        stored: the rows whose density is taken, as data sets store them; as many are
            drawn.
        density: whether that is timed, of a model that has one.
    """
    size, preprocess = len(stored), trained.preprocess
    decoder = samplers.of(trained, 0, size)
    plain = samplers.of(trained, 0, size, fold=False)
    x = jax.device_put(stored)
    z = jax.device_put(decoder.draw(jax.random.key(0), x.shape))
    cond = None
    if preprocess.classes:
        cond = jax.nn.one_hot(jnp.arange(size) % preprocess.classes, preprocess.classes)

    def taken(function: Any, model: Sampler, *args: Any) -> tuple[Timing, float | None]:
        lowered = function.lower(model.flow, preprocess, model.variables, *args)
        run = lowered.compile()
        return timing.measure(run, model.variables, *args), timing.peak_mib(run)

    times = memory = None
    if density and plain.dense:
        noise = jax.random.key(0)
        times, memory = taken(samplers.log_prob_batch, plain, noise, x, cond)
    return Cost(size, *taken(samplers.decode_batch, decoder, z, cond), times, memory)
