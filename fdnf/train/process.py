"""Settings of a whole process, for programs; libraries must leave them alone."""

import ctypes
import gc
import os
import pathlib
import sys

from jaxlib import version

from fdnf import files

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def prepare(images: bool = False) -> None:
    """What every program of this project does before its first computation.

    Args:
      images: whether it works on images.
    """
    files.print_anything()
    keep_freed_memory()
    use_one_blas_thread()
    if images:
        use_plain_fusions()


def use_plain_fusions() -> bool:
    """Tells XLA's CPU backend to emit fused loops as it did before 2025.

    Its newer emitters take half a gigabyte more to compile a Glow on images, whose
    step is no faster for it (1139 against 515 MiB at the peak, 53 against 51 ms). Small
    dense flows are 10 % faster with them. An unknown flag would end the process, so
    this is done for releases that are known to have it.

    Returns:
      Whether the flag is set.
    """
    if not version.__version__.startswith("0.10."):
        return False
    given = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_use_fusion_emitters" not in given:
        flag = "--xla_cpu_use_fusion_emitters=false"
        os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()
    return True


def use_one_blas_thread() -> None:
    """Takes LAPACK's thread pool down to one thread.

    On CPU, JAX calls the LAPACK that scipy brings. Its threads wait for each other by
    spinning: on small matrices, beside XLA's own threads, an inverse of 63 x 63 took
    12 ms of CPU time with two threads and 0.06 ms with one.
    """
    import scipy.linalg  # noqa: F401  The pool exists once this is loaded.
    import threadpoolctl

    threadpoolctl.threadpool_limits(1, user_api="blas")


def keep_freed_memory(limit: int = 2**31 - 1) -> bool:
    """Asks glibc to reuse large freed buffers instead of returning them.

    XLA's CPU backend allocates a program's temporaries anew at each call. Beyond 32
    MiB, glibc maps them afresh every time, and the kernel zeroes them page by page:
    that took half the time of a step of a small MAF at a batch of 4096 (47 MiB of
    temporaries, 25 against 12 ms). The process then stays at its peak size, so this
    is for programs, not for libraries.

    Args:
      limit: largest buffer, in bytes, that is kept.

    Returns:
      Whether the allocator took it; False where it is not glibc's.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, limit)) and bool(
        mallopt(_M_TRIM_THRESHOLD, limit)
    )


def release_programs(limit: int = 25_000, memory: int | None = None) -> bool:
    """Lets go of compiled programs before they use up the process.

    Each takes hundreds of memory mappings; Linux allows a process 65,530 by default,
    and XLA dies of a segmentation fault beyond that. Each also takes a megabyte and
    more, most of it for the module that it was compiled from. What is needed again
    comes from the cache on disk.

    Args:
      limit: number of mappings up to which nothing is done.
      memory: bytes in memory beyond which programs are let go as well; None for no
        such limit.

    Returns:
      Whether programs were let go.
    """
    maps = pathlib.Path("/proc/self/maps")
    if not maps.exists():
        return False
    if not (memory is not None and resident_memory() > memory):
        if maps.read_bytes().count(b"\n") <= limit:
            return False
    import jax

    jax.clear_caches()
    gc.collect()
    return_freed_memory()
    return True


def resident_memory() -> int:
    """Bytes of this process that are in memory; 0 where /proc does not tell."""
    statm = pathlib.Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text(encoding="utf-8").split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def return_freed_memory() -> bool:
    """Gives what is free in every arena of glibc back to the kernel.

    glibc by itself returns the end of its heap only, and nothing at all after
    `keep_freed_memory`: freed programs lie between what is still in use.

    Returns:
      Whether the allocator could; False where it is not glibc's.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True
