"""What a long test process may let go of without compiling anything twice."""

from typing import Any

from jax._src import pjit
from jax._src.interpreters import pxla

# There is no public way to drop these alone. A jax without them costs memory only.
_OF_MODULES = ((pjit, "_pjit_lower"), (pxla, "_cached_lowering_to_hlo"))


def caches_of_modules() -> list[Any]:
    """The caches in which jax keeps the modules that programs were compiled from."""
    return [getattr(owner, name) for owner, name in _OF_MODULES if hasattr(owner, name)]


def forget_modules() -> None:
    """Drops these modules, and no program.

    They are kept for a program that is lowered again, 2,048 at more than a megabyte
    each: four fifths of what the tests of `ops` took.
    """
    for cache in caches_of_modules():
        cache.cache_clear()
