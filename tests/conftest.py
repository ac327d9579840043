"""Two CPU devices, quick compilation with a cache, and the shared fixtures."""

import gc
import itertools
import os
import pathlib
import tempfile

# Before the first import of jax, which reads these once.
_DEVICES = "--xla_force_host_platform_device_count"
if _DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_DEVICES}=2".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Two test processes with two BLAS threads each spend their time waiting in spins.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax  # noqa: E402
import pytest  # noqa: E402

from fdnf.train import process  # noqa: E402
from tests import memory  # noqa: E402

# As programs on images have it. It also compiles convolutions, most of what the tests
# wait for, in a third of the time.
if process.use_plain_fusions():
    # By default a program is cut into up to 32 parts that are compiled side by side: a
    # quarter more work, and three times the memory mappings, for a core that the other
    # test process has. Another release may not know the flag.
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"

# Tracing makes many objects that soon go by themselves; looking for cycles among them
# at every 700 is a fifth of what it takes.
gc.set_threshold(50_000, 10, 10)


def _cache_dir() -> pathlib.Path:
    """One directory per user and pytest-xdist worker: cache files are not locked."""
    root = os.environ.get("FDNF_TEST_CACHE")
    if root is None:
        root = pathlib.Path(tempfile.gettempdir()) / f"fdnf-tests-{os.getuid()}"
    return pathlib.Path(root) / os.environ.get("PYTEST_XDIST_WORKER", "main")


jax.config.update("jax_compilation_cache_dir", str(_cache_dir()))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The directory of prepared data sets, without which the test is skipped."""
    value = os.environ.get("FDNF_DATA_DIR")
    if not value:
        pytest.skip("FDNF_DATA_DIR is not set: no prepared data sets to read")
    path = pathlib.Path(value)
    if not path.is_dir():
        pytest.skip(f"FDNF_DATA_DIR={value} is not a directory")
    return path


@pytest.fixture
def x64():
    """Float64 for the length of the test; the flag is put back after it."""
    with jax.enable_x64(True):
        yield


# A laptop runs two such processes; what is loaded and not let go takes 400 MB.
_MEMORY = 2 * 2**30
_finished = itertools.count(1)


def pytest_runtest_teardown():
    """Counting the mappings takes a while, so not after every test."""
    tenth = next(_finished) % 10 == 0
    if tenth:
        memory.forget_modules()
    if tenth or process.resident_memory() > _MEMORY:
        process.release_programs(memory=_MEMORY)
