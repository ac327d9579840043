"""How fast teacher and student give samples and densities."""

import math
from typing import Any

import jax
import numpy as np

from fdnf.evaluation.core.transfer_records import Milliseconds, Speed
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models import timing
from fdnf.evaluation.models.sampler import Sampler
from fdnf.flows.maf import MAF
from fdnf.flows.pixelcnn import PixelCNN

# How each flow inverts itself by evaluating its whole network once a dimension.
NAIVE = ((MAF, "passes"), (PixelCNN, "naive"))
# Seconds that one naive batch may take, as foreseen.
LONGEST = 5.0


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


def measure(
    model: Sampler,
    x: np.ndarray,
    *,
    seed: int = 0,
    density: bool = True,
    by_dimension: bool = False,
) -> Speed:
    """Times one batch, each call until its results are computed.

    Args:
        model: flow and variables of one run.
        x: `[batch, *event]`, rows whose density is taken; they also say how many
            samples are drawn.
        seed: of the latents.
        density: whether that of `x` is timed, of a model that has one.
        by_dimension: whether naive sampling is timed as well, of a model that has a
            density; of as many rows of the batch as take five seconds.

    Returns:
        Medians with tenth and ninetieth percentiles.
    """
    noise = jax.random.key(seed)

    # The programs that the scores run as well: of a deep network each takes long to
    # compile.
    def sampling(flow: Any, rows: int) -> Milliseconds:
        z = model.draw(noise, (rows, *x.shape[1:]))
        return _time(samplers.weigh_batch, flow, model.variables, z)

    sampling_ms = sampling(model.flow, len(x))
    if not (density and model.dense):
        return Speed(len(x), sampling_ms)
    density_ms = _time(
        samplers.log_prob_batch,
        model.flow,
        model.variables,
        noise,
        jax.device_put(x),
        static=(samplers.AS_IT_IS,),
    )
    slow = naive(model.flow) if by_dimension else None
    if slow is None:
        return Speed(len(x), sampling_ms, density_ms)
    # One pass is one density.
    foreseen = 1e-3 * density_ms[0] * math.prod(x.shape[1:])
    rows = max(1, int(len(x) * min(1.0, LONGEST / foreseen)))
    return Speed(len(x), sampling_ms, density_ms, sampling(slow, rows), rows)


def _time(
    function: Any, flow: Any, *args: Any, static: tuple[Any, ...] = ()
) -> Milliseconds:
    def call(*args: Any) -> Any:
        return function(flow, *static, *args)

    return timing.measure(call, *jax.device_put(args)).in_ms()
