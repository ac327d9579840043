"""Several runs in one program: the numbers in which they differ, and how they share it.

The leading axis of every tree is that of the runs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

PACKS = ("auto", "map", "vmap")


@struct.dataclass
class Hyper:
    """The numbers in which the runs of one program differ, leading axis runs.

    Attributes:
        key: of each run, see `run_keys`.
        lr: factor of the optimiser's updates.
        weights: `[runs, 3]`, of the terms of the loss, see `objectives.weights`.
    """

    key: Any
    lr: Any
    weights: Any


def run_keys(seed: int, runs: int) -> Array:
    """One key per run: run r of seed s is run 0 of seed s + r."""
    return jnp.stack([jax.random.key(seed + r) for r in range(runs)])


def hyper(keys: Array, lr: Any = 1.0, weights: Any = (0.0, 0.0, 0.0)) -> Hyper:
    """The numbers of runs with these keys; what is given once holds for all."""
    runs = keys.shape[0]
    return Hyper(
        key=keys,
        lr=jnp.broadcast_to(jnp.asarray(lr, jnp.float32), (runs,)),
        weights=jnp.broadcast_to(jnp.asarray(weights, jnp.float32), (runs, 3)),
    )


def over_runs(
    function: Callable, per_run: Any, pack: str = "auto", alike: int = 1
) -> Any:
    """Applies `function` to each run.

    Args:
      function: of the tree of one run.
      per_run: the tree of all, leading axis runs, as in the result.
      pack: "vmap" makes every operation a batched one, which fills an accelerator;
        "map" goes through the runs one after another within the program: on CPU,
        where XLA's batched matrix products are up to 5 times slower than as many
        single ones (a tabular Glow), the runs then cost what they cost alone, and
        give the same bits. "auto" is "map" on CPU and "vmap" elsewhere.
      alike: if above 1, `function` is of the tree of so many runs in a row.
    """
    if alike > 1:
        groups = jax.tree.map(
            lambda leaf: leaf.reshape(-1, alike, *leaf.shape[1:]), per_run
        )
        found = over_runs(function, groups, pack)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)
    if jax.tree.leaves(per_run)[0].shape[0] == 1:
        alone = function(jax.tree.map(lambda leaf: leaf[0], per_run))
        return jax.tree.map(lambda leaf: leaf[None], alone)
    if _chosen(pack) == "map":
        return jax.lax.map(function, per_run)
    return jax.vmap(function)(per_run)


def scan_alike(
    function: Callable,
    carry: Any,
    fixed: Any,
    xs: Array,
    common: Callable[[Array], Any],
    pack: str,
    summary: Callable[[Array], Array],
) -> Any:
    """Scans over steps of several runs that have something in common.

    Args:
      function: (carry, fixed, x, common(x)) of one run to (*carry, scalars).
      carry: of all runs, leading axis runs.
      fixed: what does not change, likewise.
      xs: one a step.
      common: of x, computed once a step.
      pack: see `over_runs`.
      summary: of the scalars of all steps of one run.

    Returns:
      `(*carry, scalars)`, leading axis runs.
    """
    if _chosen(pack) == "vmap":

        def body(carry, x):
            given = common(x)
            every = jax.vmap(lambda c, f: function(c, f, x, given))
            *carry, scalars = every(carry, fixed)
            return tuple(carry), scalars

        carry, scalars = jax.lax.scan(body, carry, xs)
        return *carry, jax.tree.map(summary, scalars)

    def split(tree):
        count = jax.tree.leaves(tree)[0].shape[0]
        return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count)]

    own = split(fixed)

    def bodies(carries, x):
        given = common(x)
        pairs = zip(carries, own, strict=True)
        found = [function(c, f, x, given) for c, f in pairs]
        return [tuple(each[:-1]) for each in found], [each[-1] for each in found]

    carries, scalars = jax.lax.scan(bodies, split(carry), xs)
    scalars = [jax.tree.map(summary, each) for each in scalars]
    ends = [(*c, s) for c, s in zip(carries, scalars, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends)


def _chosen(pack: str) -> str:
    if pack != "auto":
        return pack
    return "map" if jax.default_backend() == "cpu" else "vmap"
