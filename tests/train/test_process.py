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
