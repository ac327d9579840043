"""Modules of compiled programs are dropped, the programs are not."""

import jax
import jax.numpy as jnp

from tests import memory


def test_modules_are_forgotten_and_programs_are_not():
    lowered = memory.caches_of_modules()
    assert len(lowered) == 2, "jax keeps them elsewhere: see tests/memory.py"
    function = jax.jit(lambda x: jnp.sin(x) + 0.12345)
    x = jnp.ones(7)
    function(x)
    assert all(cache.cache_info().currsize for cache in lowered)
    memory.forget_modules()
    function(x)
    # Called again, it is neither lowered nor compiled.
    assert not any(cache.cache_info().currsize for cache in lowered)
    assert function._cache_size() == 1
