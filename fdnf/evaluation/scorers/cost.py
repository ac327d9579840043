"""What a batch costs a trained model: time and memory, of densities and samples."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models import timing
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import likelihood
from fdnf.evaluation.scorers.context import Context
from fdnf.flows.maf import MAF
from fdnf.flows.pixelcnn import PixelCNN
from fdnf.flows.tarflow import TarFlow
from fdnf.train.teachers import Trained

# What times are of that leave out what is done to a flow's data.
ALONE = "flow_alone"
# How each flow inverts itself by evaluating its whole network once a dimension.
NAIVE = ((MAF, "passes"), (PixelCNN, "naive"), (TarFlow, "naive"))
TEST = 2  # The split.
# Seconds that one slow batch may take, as foreseen, and all its repetitions.
LONGEST, TOGETHER = 5.0, 5.0


def scores(context: Context) -> Iterator[Score]:
    """Of the first run alone: a copy beside the others would count as a measurement."""
    if context.run == 0:
        trained, size = context.trained, context.section.time_batch
        stored, beside = context.data.test[:size], None
        if not trained.preprocess.classes:
            beside = trained.preprocess.beside(context.data, TEST)
        yield from measure(
            trained,
            stored,
            None if beside is None else beside[:size],
            density=likelihood.rows(trained) != 0,
        )


def measure(
    trained: Trained,
    stored: np.ndarray,
    beside: np.ndarray | None = None,
    *,
    density: bool = True,
) -> Iterator[Score]:
    """Time and memory of a batch of a model's first run, jitted, on the default device.

    A flow that can be folded draws folded.

    Args:
        trained: a flow or student.
        stored: the rows whose density is taken, as data sets store them; as many are
            drawn.
        beside: what is stored beside them, conditions; classes take turns.
        density: whether that is measured, of a model that has one.
    """
    size, preprocess = len(stored), trained.preprocess
    decoder = samplers.of(trained, 0, size)
    plain = samplers.of(trained, 0, size, fold=False)
    cond = None if beside is None else preprocess.condition(None, jnp.asarray(beside))
    if preprocess.classes:
        cond = jax.nn.one_hot(jnp.arange(size) % preprocess.classes, preprocess.classes)

    def taken(name: str, function: Any, model: Sampler, *args: Any) -> Iterator[Score]:
        given = jax.device_put((model.variables, *args, cond))
        run = function.lower(model.flow, preprocess, *given).compile()
        yield timed(f"{name}_ms", size, run, *given)
        if (mib := timing.peak_mib(run)) is not None:
            yield Score(f"{name}_mib", mib, n=size)

    noise = jax.random.key(0)
    if density and plain.dense:
        yield from taken("density", samplers.log_prob_batch, plain, noise, stored)
    z = decoder.draw(noise, stored.shape)
    yield from taken("sampling", samplers.decode_batch, decoder, z)


def timed(
    metric: str,
    rows: int,
    function: Any,
    *args: Any,
    given: str = "",
    limit_s: float = timing.PATIENCE,
) -> Score:
    """Time of a call in ms, median and tenth and ninetieth percentile.

    Args:
        metric: of the score.
        rows: of the batch.
        function: jitted or compiled; see `timing.measure`.
        *args: its arguments.
        given: of the score.
        limit_s: seconds after which few calls are made.
    """
    taken = timing.measure(function, *jax.device_put(args), limit_s=limit_s)
    median, low, high = taken.in_ms()
    return Score(metric, median, given=given, n=rows, low=low, high=high)


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
    model: Sampler,
    x: np.ndarray,
    cond: np.ndarray | None = None,
    *,
    density: bool = True,
    by_dimension: bool = False,
) -> Iterator[Score]:
    """Times one batch of the flow alone, with the density of its samples.

    Args:
        model: flow and variables of one run.
        x: `[batch, *event]`, rows whose density is taken; they also say how many
            samples are drawn.
        cond: condition of each, as the flow takes it.
        density: whether that of `x` is timed, of a model that has one.
        by_dimension: whether naive sampling is timed as well, of a model that has a
            density; of as many rows of the batch as take five seconds.
    """
    yield _sampling(model, model.flow, x, cond, len(x), "sampling_ms", ALONE)
    if not (density and model.dense):
        return
    given_rows = () if cond is None else (cond,)
    weigh = functools.partial(samplers.log_prob_batch, model.flow, samplers.AS_IT_IS)
    of_rows = (model.variables, jax.random.key(0), x, *given_rows)
    taken = timed("density_ms", len(x), weigh, *of_rows, given=ALONE)
    yield taken
    slow = naive(model.flow) if by_dimension else None
    if slow is not None:
        rows = _bearable(taken, len(x), math.prod(x.shape[1:]))
        yield _sampling(model, slow, x, cond, rows, "naive_ms")


def of_batches(
    model: Sampler,
    x: np.ndarray,
    cond: np.ndarray | None,
    sizes: Sequence[int],
    *,
    density: bool = True,
    by_dimension: bool = False,
) -> Iterator[Score]:
    """As `alone`, and the time of sampling in batches of several sizes.

    The scores of these, "batch_ms" and "batch_naive_ms", are given the size. Of a batch
    that is foreseen to take longer than five seconds as many rows are timed as do not,
    which its `n` says.

    Args:
        model: see `alone`.
        x: likewise.
        cond: likewise.
        sizes: rows of each batch.
        density: see `alone`.
        by_dimension: likewise.
    """
    known = {}
    for taken in alone(model, x, cond, density=density, by_dimension=by_dimension):
        known[taken.metric] = taken
        yield taken
    slow = naive(model.flow) if "naive_ms" in known else None
    for size in sizes:
        given = str(size)
        rows = _bearable(known["sampling_ms"], size)
        yield _sampling(model, model.flow, x, cond, rows, "batch_ms", given, TOGETHER)
        if slow is not None:
            rows = _bearable(known["naive_ms"], size)
            metric = "batch_naive_ms"
            yield _sampling(model, slow, x, cond, rows, metric, given, TOGETHER)


def _bearable(taken: Score, size: int, passes: int = 1) -> int:
    """Rows of a batch that are foreseen to take five seconds, `size` at the most.

    Args:
        taken: the time of one pass of as many rows as it says.
        size: rows that are asked for.
        passes: of each row.
    """
    foreseen = 1e-3 * taken.value * passes * size / (taken.n or 1)
    return size if foreseen <= LONGEST else max(1, int(size * LONGEST / foreseen))


def _sampling(
    model: Sampler,
    flow: Any,
    x: np.ndarray,
    cond: np.ndarray | None,
    rows: int,
    metric: str,
    given: str = "",
    limit_s: float = timing.PATIENCE,
) -> Score:
    """Time in which a flow with a model's variables draws rows like those of `x`."""
    # The programs that the scores run as well: of a deep network each takes long to
    # compile.
    decode = functools.partial(samplers.weigh_batch, flow)
    z = model.draw(jax.random.key(0), (rows, *x.shape[1:]))
    beside = () if cond is None else (cond[np.arange(rows) % len(cond)],)
    of_rows = (model.variables, z, *beside)
    return timed(metric, rows, decode, *of_rows, given=given, limit_s=limit_s)
