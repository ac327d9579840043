"""First batches of one row, of equal rows, with a constant column: harmless starts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.maf import MAF
from fdnf.flows.nice import NICE
from fdnf.flows.pixelcnn import PixelCNN
from fdnf.flows.realnvp import RealNVP

DRAW = np.random.default_rng(0)
ROWS = jnp.asarray(DRAW.normal(size=(64, 5)), jnp.float32)
IMAGES = jnp.asarray(DRAW.uniform(-0.5, 0.5, size=(6, 4, 4, 3)), jnp.float32)

FLOWS = {
    "maf": (MAF(steps=5, hidden=(8,), unroll=1), ROWS),
    "glow": (TabularGlow(steps=3, hidden=8, depth=1, unroll=1), ROWS),
    "realnvp": (RealNVP(steps=3, hidden=(8,), unroll=1), ROWS),
    "glow_image": (Glow(1, 2, 4), IMAGES),
    "pixelcnn": (PixelCNN(1, 2, 1, 1), IMAGES),
}
BATCHES = {
    "zeros": lambda x: jnp.zeros_like(x[:1]),
    "one value": lambda x: jnp.full_like(x[:1], 0.3),
    "equal rows": lambda x: jnp.full_like(x, 0.3) + x[:1] * (x.ndim == 2),
    "constant column": lambda x: x.at[..., 0].set(0.7),
}


@functools.partial(jax.jit, static_argnums=0)
def first(flow, batch):
    return flow.init(jax.random.key(0), batch)


@functools.partial(jax.jit, static_argnums=0)
def densities(flow, variables, x):
    """Log-densities of `x`, and the gradient of their mean."""

    def loss(params):
        own = flow.apply({**variables, "params": params}, x, method="log_prob")
        return -jnp.mean(own), own

    gradient, own = jax.grad(loss, has_aux=True)(variables["params"])
    return own, gradient


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        pytest.param(
            *(name, batch),
            # Their maps of elements start as those of a MAF and of Glow.
            marks=[pytest.mark.slow] * (name in ("pixelcnn", "realnvp")),
        )
        for name in FLOWS
        for batch in BATCHES
    ],
)
def test_a_batch_that_says_nothing_gives_scales_that_do_no_harm(name, batch):
    flow, x = FLOWS[name]
    # Ordinary rows, the constant column of the first batch included.
    variables = first(flow, BATCHES[batch](x))
    own, gradient = jax.device_get(densities(flow, variables, x))
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    raw = [leaf for path, leaf in leaves if "raw_log_scale" in str(path)]
    # A scale at its bound, e^12, is met in no test.
    assert all(np.abs(leaf).max() < 6 for leaf in raw)
    bits = -own / x[0].size
    assert np.all(np.isfinite(own))
    assert bits.max() < 1e6, bits.max()
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", ["maf", "glow", "realnvp"])
def test_one_row_starts_near_the_standard_normal(name):
    flow, x = FLOWS[name]
    own, _ = densities(flow, first(flow, x[:1]), x)
    centred = np.asarray(x - x[:1])
    normal = -0.5 * np.sum(centred**2 + np.log(2 * np.pi), axis=1)
    # Couplings and networks start near, not at, the identity.
    assert np.abs(own - normal).max() < 0.5 * np.abs(normal).max()


def test_a_column_constant_at_first_stays_the_identity_in_every_block():
    flow, x = FLOWS["maf"]
    variables = first(flow, x.at[:, 0].set(3.0))
    levels = jax.jit(flow.apply)(variables, x).levels
    for level in levels:
        scale = np.diff(np.asarray(level)[:, 0]) / np.diff(np.asarray(x)[:, 0])
        assert np.all((scale > 0.5) & (scale < 2))


def test_init_outside_of_jit_names_what_is_constant():
    flow, x = MAF(steps=1, hidden=(4,)), ROWS
    with pytest.warns(UserWarning, match=r"column 1 \(4\)"):
        flow.init(jax.random.key(0), x.at[:, 1].set(4.0))
    with pytest.warns(UserWarning, match="one row"):
        flow.init(jax.random.key(0), x[:1])


@pytest.mark.filterwarnings("error")
def test_init_is_silent_where_there_is_nothing_to_say():
    flow, x = MAF(steps=1, hidden=(4,)), ROWS
    flow.init(jax.random.key(0), x)
    jax.jit(flow.init)(jax.random.key(0), x[:1])
    NICE(steps=1, hidden=(4,)).init(jax.random.key(0), x[:1])
