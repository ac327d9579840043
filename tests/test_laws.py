"""The laws of `laws.py` over every bijector and every flow."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from fdnf.bijectors import transformers
from fdnf.bijectors.actnorm import ActNorm, Elementwise, Scaling
from fdnf.bijectors.autoregressive import MADE, MaskedAutoregressive
from fdnf.bijectors.combinators import Chain, Invert, Repeat, Reverse, Shuffle, Squeeze
from fdnf.bijectors.coupling import AffineInjector, Coupling, WaveCoupling
from fdnf.bijectors.invertible_conv import (
    InvertibleConv,
    InvertibleConvPLU,
    LinearLU,
    RotationConv,
)
from fdnf.bijectors.masked_conv import MaskedConv
from fdnf.bijectors.residual import Residual
from fdnf.bijectors.token_autoregressive import ReverseTokens, TokenAutoregressive
from fdnf.flows.affine import Affine
from fdnf.flows.continuous import ContinuousFlow
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.iresnet import MultiScaleIResNet
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.mintnet import MintNet
from fdnf.flows.nice import NICE
from fdnf.flows.pixelcnn import PixelCNN, PixelIAF
from fdnf.flows.realnvp import MultiScaleRealNVP, RealNVP
from fdnf.flows.tarflow import TarFlow, TarIAF
from fdnf.flows.wavenet import GaussianWaveNet, WaveIAF
from fdnf.nets.causal_transformer import CausalTransformer
from fdnf.nets.conv import ConvBlock, ConvResNet
from fdnf.nets.mlp import MLP, ResidualMLP
from fdnf.ops import autoregressive_inverse
from tests import laws
from tests.flows import test_waveglow
from tests.flows.tiny_srflow import SIZES, OfVectors

IMAGE = (4, 3, 3)
TIGHT = {"tolerance": 1e-13}
SPLINE = {"name": "spline", "bins": 3, "box": 2.0}
# Where a spline is steep, rounding grows by its slope.
ROUGH = {"noise": 0.6, "tolerance": 1e-3}


class ConvNet(nn.Module):
    """A conditioner for images; `cond` is one vector per image."""

    @nn.compact
    def __call__(self, x, features, cond=None):
        h = nn.Conv(4, (3, 3))(x)
        if cond is not None:
            h += nn.Dense(4)(cond)[:, None, None, :]
        return nn.Conv(features, (3, 3))(nn.tanh(h))


def masked(method="exact"):
    # The iterative methods stop at their tolerance, so the laws set it below theirs.
    made = MADE((9,), "tanh")
    return MaskedAutoregressive(made, method=method, tolerance=1e-13)


def step():
    return Chain((ActNorm(), InvertibleConvPLU(), Coupling(MLP((6,), "tanh"))))


Case = laws.Case
drawn = functools.partial(Case, start=False)
one_way = functools.partial(drawn, through=False)

SPLINE = {"name": "spline", "bins": 3, "box": 2.5}
TOKENS = {"unroll": 1, **TIGHT}
WAVE = dict(layers=2, cycles=1, channels=2, taps=2, front=2)
BIJECTORS = [
    Case("actnorm", ActNorm()),
    Case("actnorm_image", ActNorm(), IMAGE),
    Case("scaling", Scaling()),
    Case("scaling_image", Scaling(), IMAGE),
    Case("reverse", Reverse()),
    Case("reverse_image", Reverse(), IMAGE),
    Case("reverse_rows", Reverse(axis=1), IMAGE),
    Case("shuffle", Shuffle(seed=3)),
    Case("shuffle_image", Shuffle(seed=3), IMAGE),
    Case("conv", InvertibleConv()),
    Case("conv_image", InvertibleConv(), IMAGE),
    Case("rotation", RotationConv()),
    Case("wave_coupling", WaveCoupling(MLP((6,), "tanh")), (5,), 2),
    Case("conv_plu", InvertibleConvPLU()),
    Case("conv_plu_image", InvertibleConvPLU(), IMAGE),
    Case("linear_lu", LinearLU(), (5,)),
    Case("elementwise", Elementwise(transformers.make(SPLINE)), (2, 2, 3)),
    *(
        Case(
            f"coupling_{kind}_{partition}{'_swap' * swap}",
            Coupling(
                MLP((6,), "tanh"),
                transformer="additive" if kind == "additive" else "affine",
                log_scale="sigmoid" if kind == "additive" else kind,
                partition=partition,
                swap=swap,
            ),
            (5,),
        )
        for kind in ("additive", "sigmoid", "tanh")
        for partition in ("half", "alternating")
        for swap in (False, True)
    ),
    Case("coupling_cond", Coupling(MLP((6,), "tanh")), (5,), 2),
    Case("coupling_spline", Coupling(MLP((6,), "tanh"), SPLINE), (7,), **ROUGH),
    Case(
        "coupling_spline_alternating_swap_cond",
        Coupling(
            ResidualMLP((6, 6), "tanh"), SPLINE, partition="alternating", swap=True
        ),
        (3,),
        2,
        **ROUGH,
    ),
    Case(
        "coupling_spline_checkerboard",
        Coupling(ConvNet(), SPLINE, partition="checkerboard"),
        (3, 2, 1),
        **ROUGH,
    ),
    *(
        Case(
            f"coupling_image_{partition}{'_swap' * swap}",
            Coupling(ConvNet(), partition=partition, swap=swap),
            IMAGE,
        )
        for partition in ("half", "alternating", "checkerboard")
        for swap in (False, True)
    ),
    Case(
        "coupling_checkerboard_grey",
        Coupling(ConvNet(), log_scale="tanh", partition="checkerboard"),
        (4, 3, 1),
    ),
    Case("coupling_image_cond", Coupling(ConvNet()), IMAGE, 2),
    *(
        Case(f"masked_affine_{method}", masked(method))
        # "auto" is one of the others.
        for method in autoregressive_inverse.METHODS[1:]
    ),
    *(
        Case(
            f"masked_conv_{channels}{'_mirrored' * mirrored}",
            # The laws compare with more digits than float32 has, see `masked`.
            MaskedConv(3, mirrored, tolerance=1e-13),
            (4, 3, channels),
            noise=0.8,
        )
        for channels, mirrored in ((1, False), (3, True))
    ),
    Case("residual_cond", Residual((6,), **TIGHT), context=2, noise=1.0),
    Case(
        "residual_image",
        # Terms enough to leave nothing but rounding, and unit vectors as probes.
        Residual((6,), bound=0.3, log_det="series", terms=20, probes=8, **TIGHT),
        (2, 2, 2),
        noise=1.0,
    ),
    *(
        Case(
            f"masked_inverse_{method}",
            MaskedAutoregressive(
                MADE((9,), "tanh"),
                transformers.Inverse(),
                method=method,
                tolerance=1e-13,
            ),
        )
        for method in ("blocked", "jacobi")
    ),
    Case(
        "masked_inverse_spline",
        MaskedAutoregressive(
            MADE((9,), "tanh", 8), transformers.Inverse(transformers.make(SPLINE))
        ),
        (3,),
        **ROUGH,
    ),
    Case("masked_affine_cond", masked(), context=2),
    *(
        drawn(
            f"tokens_{name}",
            TokenAutoregressive(CausalTransformer(1, 4, 2), patch, **TIGHT, **how),
            event,
            context,
            noise=1.0,
        )
        for name, patch, event, context, how in (
            ("inverse_cond", 1, (3,), 2, {"transformer": transformers.Inverse()}),
            ("jacobi", 2, (4, 4, 1), None, {"method": "jacobi", "segment": 3}),
        )
    ),
    Case("reverse_tokens", ReverseTokens(2), (4, 2, 3)),
    Case("masked_affine_two_layers", MaskedAutoregressive(MADE((7, 9), "relu"))),
    Case("masked_affine_one_dim", masked(), (1,)),
    *(
        Case(f"coupling_{type(net).__name__}", Coupling(net), IMAGE, context, 0.2)
        for net, context in ((ConvBlock(4), None), (ConvResNet(4), 2))
    ),
    # The laws want one shape on both sides.
    Case(
        "squeeze",
        Chain((Squeeze(), Coupling(ConvNet()), Invert(Squeeze()))),
        (4, 4, 2),
    ),
    Case("affine_injector", AffineInjector(MLP((6,), "tanh")), context=2),
    Case("repeat_remat", Repeat(step(), 3, unroll=1, remat=True), (5,)),
    Case("invert", Invert(Coupling(MLP((6,), "tanh")))),
    Case("invert_masked_affine", Invert(masked()), context=2),
    Case("chain", Chain((step(), Reverse(), masked())), (5,)),
    Case("repeat", Repeat(step(), 3, unroll=1), (5,)),
    Case("repeat_cond", Repeat(Chain((masked(), Reverse())), 2, 1), context=2),
    Case("repeat_unrolled", Repeat(Repeat(step(), 2, unroll=1), 2)),
]

FLOWS = [
    Case("glow", TabularGlow(unroll=1, steps=3, hidden=8, depth=2), (5,)),
    Case(
        "glow_additive",
        TabularGlow(unroll=1, steps=2, hidden=8, transformer="additive"),
    ),
    Case("glow_plu", TabularGlow(unroll=1, steps=2, hidden=8, depth=2, plu=True), (5,)),
    Case("glow_cond", TabularGlow(unroll=1, steps=2, hidden=8, depth=1), context=2),
    Case("maf", MAF(unroll=1, steps=3, hidden=(8, 8)), (5,)),
    Case("maf_even", MAF(steps=2, hidden=(8,), unroll=1)),
    Case("maf_cond", MAF(unroll=1, steps=2, hidden=(8,)), context=2),
    Case("iaf", IAF(unroll=1, steps=3, hidden=(8,)), (5,)),
    Case("iaf_cond", IAF(unroll=1, steps=2, hidden=(8,)), context=2),
    Case(
        "maf_spline_lu",
        MAF(
            2,
            (6,),
            unroll=1,
            transformer={"name": "compose", "parts": ("affine", SPLINE)},
            mixing="lu",
            conditioner="residual",
            rank=3,
        ),
        (3,),
    ),
    Case("iaf_spline", IAF(2, (6,), "tanh", unroll=1, transformer=SPLINE), context=2),
    Case(
        "continuous_cond",
        ContinuousFlow((8,), time_features=4, solver="dopri8", steps=12, levels=2),
        context=2,
    ),
    Case("nice", NICE(steps=3, hidden=(8,)), (5,)),
    Case("nice_cond", NICE(steps=3, hidden=(8,)), context=2),
    Case("nice_image", NICE(steps=2, hidden=(8,)), (2, 3, 2)),
    *(
        Case(f"glow_image_{name}", glow, (4, 4, 2), noise=0.05, through=False)
        # What is about one step needs no second level.
        for name, glow in (
            ("plu", Glow(2, 2, 4)),
            ("full", Glow(2, 2, 4, plu=False, learn_top=True)),
            ("additive", Glow(1, 2, 4, transformer="additive")),
            ("spline", Glow(1, 2, 4, transformer=SPLINE)),
            ("unrolled", Glow(1, 2, 4, unroll=None, remat=False)),
        )
    ),
    one_way("iresnet_images", MultiScaleIResNet(1, 1, 4, **TIGHT), (2, 2, 1), 3, 0.8),
    one_way("mintnet", MintNet(2, 1, hidden=4, **TIGHT), (2, 4, 1), noise=0.4),
    Case("glow_image_cond", Glow(2, 1, 4), (4, 4, 1), 3, noise=0.05),
    one_way("realnvp_image", MultiScaleRealNVP(2, 1, 4, 1), (4, 4, 1), noise=0.2),
    drawn("realnvp_image_cond", MultiScaleRealNVP(1, 1, 4, 1), (4, 4, 1), 3, noise=0.2),
    one_way("pixelcnn", PixelCNN(1, 2, 1, 2, **TIGHT), (3, 3, 1), noise=0.5),
    # Two steps in a row, of which one is turned, are a matter of the stack: below.
    drawn("pixelcnn_cond", PixelCNN(1, 2, 1, 1, tolerance=1e-13), (2, 2, 2), 2, 0.5),
    one_way("pixelcnn_iaf", PixelIAF(2, 2, 1, 1, **TIGHT), (2, 3, 1), noise=0.5),
    Case("realnvp", RealNVP(unroll=1, steps=2, hidden=(8,)), (5,), noise=0.4),
    one_way("tarflow_cond", TarFlow(2, 1, 4, 2, 2, **TOKENS), (2, 4, 2), 2, noise=1.0),
    one_way("tarflow_iaf", TarIAF(2, 1, 4, 2, 2, **TOKENS), (6,), noise=1.0),
    Case(
        "realnvp_spline_reverse_cond",
        RealNVP(
            3,
            (8, 8),
            unroll=1,
            transformer=SPLINE,
            partition="half",
            mixing="reverse",
            conditioner="residual",
            embedding=(4,),
        ),
        (3,),
        context=2,
        through=False,
        **ROUGH,
    ),
    Case(
        "realnvp_spline_lu",
        RealNVP(2, (8,), unroll=1, transformer=SPLINE, partition="half", mixing="lu"),
        (2,),
        through=False,
        **ROUGH,
    ),
    Case("realnvp_cond", RealNVP(unroll=1, steps=2, hidden=(8,)), context=2, noise=0.4),
    drawn(
        "srflow",
        OfVectors(**{**SIZES, "transitions": 0}),
        (8, 8, 1),
        context=4,
        noise=0.2,
        through=False,
    ),
    Case("affine", Affine(), (5,), noise=0.2),
    Case("affine_normal", Affine("normal"), (3,), noise=0.1),
    test_waveglow.TWO,
    drawn("wavenet", GaussianWaveNet(2, **WAVE), (5, 1), noise=0.7),
    drawn("wavenet_iaf", WaveIAF(1, **WAVE), (5, 1), noise=0.7),
]

over_all = pytest.mark.parametrize(
    "case", BIJECTORS + FLOWS, ids=lambda case: case.name
)
# Flows run what their bijectors run, so two stand for all; of each bijector the first.
over_eager = pytest.mark.parametrize(
    "case",
    [
        *{type(case.module): case for case in BIJECTORS[::-1]}.values(),
        FLOWS[0],
        FLOWS[4],
    ],
    ids=lambda case: case.name,
)


@functools.cache
def arguments(case, dtype, seed=0):
    """(variables, x, w, cond) of a case."""
    arrays = (case.variables, case.data(seed + 11), case.data(seed + 12), case.cond())
    return laws.cast(arrays, dtype)


@over_all
def test_float64(case):
    with jax.enable_x64(True):
        variables, x, w, cond = arguments(case, np.float64)
        # One program for the whole test, which is how long its compilation takes.
        mapped = laws.both_and_derivatives
        seen = laws.trips(case, variables, x, w, cond, mapped)
        assert seen.there.value.dtype == np.float64
        assert np.max(np.abs(seen.there.value - x)) > 0.1, "the map is near identity"
        laws.assert_trips(seen, x, w, 1e-9)
        _, _, derived = mapped(case, variables, x, w, cond)
        laws.assert_close(derived.log_det, seen.there.log_det, 1e-9, "log_det")
        assert all(
            np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(derived.gradients)
        )
        for last_row in (10.0, np.nan):
            other_x, other_w = x.at[-1].set(last_row), w.at[-1].set(last_row)
            changed = laws.trips(case, variables, other_x, other_w, cond, mapped)
            laws.assert_rows_apart(seen, changed, 1e-12)


@over_all
def test_float32(case):
    variables, x, w, cond = arguments(case, np.float32)
    seen = laws.trips(case, variables, x, w, cond)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(seen))
    laws.assert_trips(seen, x, w, case.tolerance)


@over_eager
def test_jit_equals_eager(case):
    variables, x, w, cond = arguments(case, np.float32)
    compiled = laws.both_jitted(case, variables, x, w, cond)
    eager = laws.both(case, variables, x, w, cond)
    laws.assert_close(eager, compiled, case.tolerance, "eager")
