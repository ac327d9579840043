"""Process settings, as far as they can be seen from inside."""

import ctypes
import sys

import pytest
import threadpoolctl

from fdnf.train import process


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_prepare_leaves_one_blas_thread_and_glibc_takes_the_limit():
    process.prepare()
    pools = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
    assert pools
    assert {p["num_threads"] for p in pools} == {1}
    assert process.keep_freed_memory()


def test_image_programs_ask_for_plain_fusions(monkeypatch):
    flag = "--xla_cpu_use_fusion_emitters=false"
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    assert process.use_plain_fusions()
    assert process.os.environ["XLA_FLAGS"].split() == [
        "--xla_force_host_platform_device_count=2",
        flag,
    ]
    # What the user set stays.
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=true")
    assert process.use_plain_fusions()
    assert "false" not in process.os.environ["XLA_FLAGS"]
    # A release that may not know the flag is left alone.
    monkeypatch.setattr(process.version, "__version__", "0.99.0")
    monkeypatch.setenv("XLA_FLAGS", "")
    assert not process.use_plain_fusions()
    assert process.os.environ["XLA_FLAGS"] == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_programs_are_let_go_beyond_the_limit():
    assert not process.release_programs(10**9)
    assert process.release_programs(0)
    assert not process.release_programs(10**9, memory=2**50)
    assert process.release_programs(10**9, memory=2**20)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_memory_that_is_free_between_what_is_used_goes_back():
    process.keep_freed_memory()
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    blocks = [libc.malloc(8192) for _ in range(8192)]
    for block in blocks:
        libc.memset(block, 1, 8192)
    last = blocks.pop()
    for block in blocks:
        libc.free(block)
    before = process.resident_memory()
    assert process.return_freed_memory()
    assert before - process.resident_memory() > 48 * 2**20
    libc.free(last)
