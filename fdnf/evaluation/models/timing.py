"""Latency and memory of a call, and size of a model."""

import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.ops import trees

# Seconds after which a call is repeated no more, whatever is timed ...
PATIENCE = 20.0
# ... but for the calls that are timed however long they take.
LEAST = 3


class Timing(NamedTuple):
    """Seconds of one call.

    Attributes:
        median_s: of the timed calls, wall clock.
        p10_s: their tenth percentile.
        p90_s: their ninetieth percentile.
        reps: how many they are.
        first_s: of the very first call, with what is compiled in it; nan without one
            before the timed calls.
        cpu_s: median seconds of all processors together.
    """

    median_s: float
    p10_s: float
    p90_s: float
    reps: int
    first_s: float
    cpu_s: float

    def in_ms(self) -> tuple[float, float, float]:
        """Median, p10 and p90 in milliseconds."""
        return (1e3 * self.median_s, 1e3 * self.p10_s, 1e3 * self.p90_s)


def measure(
    fn: Callable[..., Any],
    *args: Any,
    repeats: int = 50,
    warmup: int = 5,
    limit_s: float = PATIENCE,
) -> Timing:
    """Time `fn(*args)`, each call until its results are computed.

    Args:
        fn: what to time; jit it first. Results may be any pytree.
        *args: its arguments, ready on the device before the clock starts. They must
            outlive the call: no donation.
        repeats: number of timed calls.
        warmup: number of calls before, which compile and fill caches.
        limit_s: seconds after the first call, which may have to compile, beyond which
            no further call starts, but for three timed ones.

    Returns:
        Median and spread over the timed calls, in seconds.

    Raises:
        ValueError: `repeats` below 1 or `warmup` below 0.
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(
            f"repeats={repeats} and warmup={warmup}: expected at least 1 and 0"
        )

    def once() -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(fn(*args))
        return time.perf_counter() - wall, time.process_time() - cpu

    jax.block_until_ready(args)
    first = once()[0] if warmup else np.nan
    begun = time.perf_counter()
    for _ in range(1, warmup):
        if time.perf_counter() - begun > limit_s:
            break
        once()
    taken: list[tuple[float, float]] = []
    while len(taken) < repeats:
        if len(taken) >= LEAST and time.perf_counter() - begun > limit_s:
            break
        taken.append(once())
    wall, cpu = np.transpose(taken)
    p10, median, p90 = (float(q) for q in np.percentile(wall, (10, 50, 90)))
    return Timing(median, p10, p90, len(taken), first, float(np.median(cpu)))


def peak_mib(fn: Any, *args: Any) -> float | None:
    """Memory that a compiled call needs at its peak, as XLA planned it.

    arguments + results + temporaries - results that take an argument's place. What a
    backend's kernels set aside for themselves at run time is not in the plan.

    Args:
        fn: a jitted function, or what `lower` or `compile` made of one.
        *args: arguments to lower it for, arrays or `jax.ShapeDtypeStruct`; none if it
            is lowered already.

    Returns:
        MiB of one device, or None where the backend makes no plan known.
    """
    lowered = fn.lower(*args) if hasattr(fn, "lower") else fn
    compiled = lowered.compile() if hasattr(lowered, "compile") else lowered
    plan = compiled.memory_analysis()
    if plan is None:
        return None
    sizes = plan.argument_size_in_bytes + plan.output_size_in_bytes
    sizes += plan.temp_size_in_bytes - plan.alias_size_in_bytes
    return sizes / 2**20


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


def machine() -> dict[str, Any]:
    """On what times are taken: kind and number of devices, kind of processor, cores."""
    devices = jax.local_devices()
    return {
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "backend": jax.default_backend(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    """What the system calls the processor; not the machine's own name."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return named[0] if named else platform.processor() or platform.machine()
