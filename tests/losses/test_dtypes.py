"""Losses of data, latents and sounds of any dtype, in 32-bit and in 64-bit mode.

Nothing runs: dtypes are known from the shapes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.affine import Affine
from fdnf.flows.glow import TabularGlow
from fdnf.flows.maf import MAF
from fdnf.losses import (
    density,
    distillation,
    expansion,
    feed_forward,
    gaussian_conditionals,
    inverse_matching,
    spectra,
)
from fdnf.ops.spectral_distance import Resolution

DIM, ROWS = 4, 3
# Rolled: a step that changed the dtype would be refused by the loop itself.
FLOWS = {
    "maf": MAF(2, [8], unroll=1),
    "glow": TabularGlow(2, 8, 1, unroll=1),
    "affine": Affine(),
}
RESOLUTIONS = (Resolution(16, 4, 16),)


def of_pair(loss, **settings):
    """A loss of student, teacher, variables of both and data."""
    return lambda flow, v, given: loss(flow, flow, v, v, given, **settings)


OF_DATA = {
    "nll": lambda flow, v, x: distillation.nll(flow, v, x),
    "lkd": of_pair(distillation.lkd),
    "ilkd": of_pair(distillation.ilkd),
    "x_reconstruction": of_pair(inverse_matching.x_reconstruction),
}
OF_LATENTS = {
    "skd": of_pair(distillation.skd, limit=10.0),
    "reverse_kl": of_pair(density.reverse_kl),
    "path": of_pair(density.reverse_kl, path=True),
    "z_reconstruction": of_pair(inverse_matching.z_reconstruction),
    "oracle": of_pair(inverse_matching.oracle, limit=10.0),
    "feed_forward": of_pair(feed_forward.feed_forward),
}
OF_BOTH = {
    "combined": lambda flow, v, x: distillation.combined(
        flow, flow, v, v, x, (x,), weights=(0.5, 0.25, 0.25)
    ),
    "oracle_of_samples": lambda flow, v, x: inverse_matching.oracle(
        flow, flow, v, v, (x,), x=x, noise=(x,), limit=10.0
    ),
    "feed_forward_of_samples": lambda flow, v, x: feed_forward.feed_forward(
        flow, flow, v, v, (x,), x=x
    ),
    "expansion": lambda flow, v, x: expansion.expansion_signal(
        flow, flow, v, v, (x,), centre=x
    ),
}
WITHOUT_FLOWS = {
    "regularized_kl": lambda x: gaussian_conditionals.regularized_kl(x, x, x, x),
    "compose": lambda x: gaussian_conditionals.compose([x, x], [x, x]),
    "power": lambda x: spectra.power(x, x, n_fft=16, hop=4),
    "stft": lambda x: spectra.multi_resolution_stft(x, x, RESOLUTIONS),
}
GIVEN = {
    "list": lambda x: x.tolist(),
    "numpy": lambda x: x,
    "float64": lambda x: x.astype(np.float64),
    "int32": lambda x: jnp.asarray(x, jnp.int32),
    "uint8": lambda x: np.abs(x).astype(np.uint8),
    "float16": lambda x: jnp.asarray(x, jnp.float16),
    "bfloat16": lambda x: jnp.asarray(x, jnp.bfloat16),
}

over_given = pytest.mark.parametrize("given", GIVEN)
over_modes = pytest.mark.parametrize("x64", [False, True])


@functools.cache
def variables(name):
    x = jnp.zeros((ROWS, DIM), jnp.float32)
    return jax.eval_shape(FLOWS[name].init, jax.random.key(0), x)


def data(shape=(ROWS, DIM)):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def dtype_of_loss(loss, *args):
    found = jax.eval_shape(loss, *args)
    return jax.tree.leaves(found)[0].dtype.name


def expected(given, x64):
    wide = x64 and given in ("float64", "list")
    return {"float32", "float64"} if wide else {"float32"}


@pytest.mark.parametrize(
    ("flow", "x64"),
    [
        *(("maf", True), ("affine", True), ("affine", False)),
        pytest.param("maf", False, marks=pytest.mark.slow),
        *(pytest.param("glow", x64, marks=pytest.mark.slow) for x64 in (False, True)),
    ],
)
def test_of_flows(flow, x64):
    module = FLOWS[flow]
    # Another dtype for each loss, so that every one meets most of them.
    kinds = list(GIVEN)
    with jax.enable_x64(x64):
        for i, (name, loss) in enumerate((OF_DATA | OF_LATENTS | OF_BOTH).items()):
            given = kinds[(2 * i + x64 + 3 * list(FLOWS).index(flow)) % len(kinds)]
            x = GIVEN[given](data())
            args = (x,) if name in OF_LATENTS else x
            found = dtype_of_loss(
                lambda v, loss=loss, args=args: loss(module, v, args), variables(flow)
            )
            assert found in expected(given, x64), (name, given)


@over_given
@over_modes
def test_of_one_loss_all_dtypes(given, x64):
    with jax.enable_x64(x64):
        x = GIVEN[given](data())
        for loss, args in (
            (OF_DATA["lkd"], x),
            (OF_LATENTS["skd"], (x,)),
            (OF_LATENTS["skd"], [x]),
        ):
            found = dtype_of_loss(
                lambda v, loss=loss, args=args: loss(FLOWS["maf"], v, args),
                variables("maf"),
            )
            assert found == "float32"


@over_given
@over_modes
@pytest.mark.parametrize("name", WITHOUT_FLOWS)
def test_without_flows(name, given, x64):
    with jax.enable_x64(x64):
        x = GIVEN[given](data((ROWS, 64)))
        found = dtype_of_loss(lambda: WITHOUT_FLOWS[name](x))
        assert found in expected(given, x64)


def test_one_array_is_no_tuple_of_latents():
    with pytest.raises(ValueError, match=r"expected a tuple .*\(z,\) for one"):
        jax.eval_shape(
            lambda v: OF_LATENTS["skd"](FLOWS["maf"], v, data()), variables("maf")
        )
