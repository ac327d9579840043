"""Latency of a call and size of a model."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.ops import trees


class Timing(NamedTuple):
    """Wall-clock seconds of one call: median and tenth and ninetieth percentile."""

    median_s: float
    p10_s: float
    p90_s: float
    reps: int

    def in_ms(self) -> tuple[float, float, float]:
        """Median, p10 and p90 in milliseconds, as `records.Record` keeps them."""
        return (1e3 * self.median_s, 1e3 * self.p10_s, 1e3 * self.p90_s)


def measure(
    fn: Callable[..., Any], *args: Any, repeats: int = 50, warmup: int = 5
) -> Timing:
    """Time `fn(*args)`, each call until its results are computed.

    Args:
        fn: what to time; jit it first. Results may be any pytree.
        *args: its arguments, ready on the device before the clock starts. They must
            outlive the call: no donation.
        repeats: number of timed calls.
        warmup: number of calls before, which compile and fill caches.

    Returns:
        Median and spread over the timed calls, in seconds.

    Raises:
        ValueError: `repeats` below 1 or `warmup` below 0.
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(
            f"repeats={repeats} and warmup={warmup}: expected at least 1 and 0"
        )
    jax.block_until_ready(args)
    for _ in range(warmup):
        jax.block_until_ready(fn(*args))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(fn(*args))
        seconds.append(time.perf_counter() - start)
    p10, median, p90 = (float(q) for q in np.percentile(seconds, (10, 50, 90)))
    return Timing(median, p10, p90, repeats)


def parameter_count(variables: Mapping[str, Any]) -> int:
    """Number of scalars that are optimized: those of the "params" collection.

    Args:
        variables: as `init` returns them, arrays or `jax.ShapeDtypeStruct`.

    Returns:
        The count; "constants" and other collections are not in it.

    Raises:
        ValueError: there is no "params" collection.
    """
    if "params" not in variables:
        raise ValueError(
            f'variables have the collections {sorted(variables)}: expected "params" '
            'among them; pass {"params": params} for a bare parameter tree'
        )
    return trees.parameter_count(variables["params"])
