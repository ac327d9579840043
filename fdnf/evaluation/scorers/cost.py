"""What a batch costs a trained model: time and memory, of densities and samples."""

import math
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
from fdnf.flows.maf import MAF
from fdnf.flows.pixelcnn import PixelCNN
from fdnf.train.teachers import Trained

# What times are of that leave out what is done to a flow's data.
ALONE = "flow_alone"
# How each flow inverts itself by evaluating its whole network once a dimension.
NAIVE = ((MAF, "passes"), (PixelCNN, "naive"))
# Seconds that one naive batch may take, as foreseen.
LONGEST = 5.0


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


def naive(flow: Any) -> Any | None:
    """The flow that samples by evaluating its whole network once a dimension.

    That is how an autoregressive flow samples as it is written down; the flows of this
    package do better. The samples are the same, within float error.

    Args:
        flow: any.

    Returns:
        A flow for the same variables, or None for one that does not sample so.
    """
    for kind, method in NAIVE:
        if isinstance(flow, kind):
            return flow.clone(inverse=method)
    return None


def alone(
    model: Sampler, x: np.ndarray, *, density: bool = True, by_dimension: bool = False
) -> Iterator[Score]:
    """Times one batch of the flow alone, with the density of its samples.

    Args:
        model: flow and variables of one run.
        x: `[batch, *event]`, rows whose density is taken; they also say how many
            samples are drawn.
        density: whether that of `x` is timed, of a model that has one.
        by_dimension: whether naive sampling is timed as well, of a model that has a
            density; of as many rows of the batch as take five seconds.
    """
    noise = jax.random.key(0)

    # The programs that the scores run as well: of a deep network each takes long to
    # compile.
    def sampling(flow: Any, rows: int, metric: str, given: str = "") -> Score:
        z = model.draw(noise, (rows, *x.shape[1:]))
        return _timed(metric, given, rows, samplers.weigh_batch, (flow,), model, z)

    yield sampling(model.flow, len(x), "sampling_ms", ALONE)
    if not (density and model.dense):
        return
    static = (model.flow, samplers.AS_IT_IS)
    taken = _timed(
        *("density_ms", ALONE, len(x), samplers.log_prob_batch),
        *(static, model, noise, x),
    )
    yield taken
    slow = naive(model.flow) if by_dimension else None
    if slow is not None:
        # One pass is one density.
        foreseen = 1e-3 * taken.value * math.prod(x.shape[1:])
        rows = max(1, int(len(x) * min(1.0, LONGEST / foreseen)))
        yield sampling(slow, rows, "naive_ms")


def _timed(
    metric: str,
    given: str,
    rows: int,
    function: Any,
    static: tuple[Any, ...],
    model: Sampler,
    *args: Any,
) -> Score:
    def call(*args: Any) -> Any:
        return function(*static, *args)

    found = timing.measure(call, *jax.device_put((model.variables, *args)))
    median, low, high = found.in_ms()
    return Score(metric, median, given=given, n=rows, low=low, high=high)
