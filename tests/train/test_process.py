"""Process settings, as far as they can be seen from inside."""

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
