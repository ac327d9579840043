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
from tests.flows.tiny_srflow import LEAST, OfVectors

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


Case = functools.partial(laws.Case, start=False)
one_way = functools.partial(Case, through=False)

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
            through=False,
        )
        for channels, mirrored in ((1, False), (3, True))
    ),
    Case(
        "residual_cond",
        Residual((6,), **TIGHT),
        context=2,
        noise=1.0,
        through=False,
    ),
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
        Case(
            f"tokens_{name}",
            TokenAutoregressive(CausalTransformer(1, 4, 2), patch, **TIGHT, **how),
            event,
            context,
            noise=1.0,
            through=False,
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
        Case(f"coupling_{type(net).__name__}", Coupling(net), IMAGE, context, noise=0.2)
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
        one_way(f"glow_image_{name}", glow, (4, 4, 2), noise=0.3)
        # What is about one step needs no second level.
        for name, glow in (
            ("plu", Glow(2, 2, 4)),
            ("full", Glow(1, 2, 4, plu=False, learn_top=True)),
            ("additive", Glow(1, 2, 4, transformer="additive")),
            ("spline", Glow(1, 2, 4, transformer=SPLINE)),
            ("unrolled", Glow(1, 2, 4, unroll=None, remat=False)),
        )
    ),
    one_way("iresnet_images", MultiScaleIResNet(1, 1, 4, **TIGHT), (2, 2, 1), 3),
    one_way("mintnet", MintNet(1, 1, hidden=4, **TIGHT), (2, 4, 1), noise=0.4),
    one_way("glow_image_cond", Glow(2, 1, 4), (4, 4, 1), 3, noise=0.3),
    one_way("realnvp_image", MultiScaleRealNVP(2, 1, 4, 1), (4, 4, 1), noise=0.2),
    Case("realnvp_image_cond", MultiScaleRealNVP(1, 1, 4, 1), (4, 4, 1), 3, noise=0.2),
    one_way("pixelcnn", PixelCNN(1, 2, 1, 2, **TIGHT), (3, 3, 1), noise=0.5),
    Case("pixelcnn_cond", PixelCNN(1, 2, 1, 1, **TIGHT), (2, 2, 2), 2, noise=0.5),
    one_way("pixelcnn_iaf", PixelIAF(1, 2, 1, 1, **TIGHT), (2, 3, 1), noise=0.5),
    Case("realnvp", RealNVP(unroll=1, steps=2, hidden=(8,)), (5,), noise=0.4),
    one_way("tarflow_cond", TarFlow(2, 1, 4, 2, 2, **TOKENS), (2, 4, 2), 2, noise=1.0),
    one_way("tarflow_iaf", TarIAF(2, 1, 4, 2, 2, **TOKENS), (6,), noise=1.0),
    one_way(
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
        **ROUGH,
    ),
    one_way(
        "realnvp_spline_lu",
        RealNVP(2, (8,), unroll=1, transformer=SPLINE, partition="half", mixing="lu"),
        (2,),
        **ROUGH,
    ),
    Case("realnvp_cond", RealNVP(unroll=1, steps=2, hidden=(8,)), context=2, noise=0.4),
    # `tests/flows/test_srflow.py` has more levels.
    one_way(
        "srflow",
        OfVectors(**LEAST, levels=1),
        (8, 8, 1),
        context=4,
        noise=0.2,
    ),
    Case("affine", Affine(), (5,), noise=0.2),
    Case("affine_normal", Affine("normal"), (3,), noise=0.1),
    test_waveglow.TWO,
    Case("wavenet", GaussianWaveNet(2, **WAVE), (5, 1), noise=0.7),
    Case("wavenet_iaf", WaveIAF(1, **WAVE), (5, 1), noise=0.7),
]

# Made of what others are made of, or of the same in another order.
ALIKE = (
    *("reverse_image", "shuffle_image", "coupling_additive_half_swap"),
    *("coupling_additive_alternating", "coupling_additive_alternating_swap"),
    *("coupling_sigmoid_half", "coupling_sigmoid_alternating_swap"),
    *("coupling_tanh_half", "coupling_tanh_half_swap", "coupling_tanh_alternating"),
    *("coupling_spline_alternating_swap_cond", "coupling_spline_checkerboard"),
    *("coupling_image_half", "coupling_image_alternating_swap"),
    *("coupling_image_checkerboard", "coupling_checkerboard_grey"),
    *("masked_conv_1", "masked_inverse_jacobi", "masked_inverse_spline"),
    *("repeat", "repeat_unrolled", "glow_additive", "maf_even", "iaf_spline"),
    *("nice_image", "glow_image_plu", "glow_image_additive", "glow_image_spline"),
    *("glow_image_unrolled", "realnvp_image", "pixelcnn"),
    *("realnvp_spline_lu", "affine_normal"),
)

CASES = [
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] * (case.name in ALIKE))
    for case in BIJECTORS + FLOWS
]
over_all = pytest.mark.parametrize("case", CASES)
# Of each bijector the first.
FIRST = [
    *{
        type(case.module): case for case in BIJECTORS[::-1] if case.name not in ALIKE
    }.values()
]
# Flows run what their bijectors run, so two stand for all.
over_eager = pytest.mark.parametrize(
    "case", [*FIRST, FLOWS[0], FLOWS[4]], ids=lambda case: case.name
)


@functools.cache
def arguments(case, dtype, seed=0):
    """(variables, x, w, cond) of a case."""
    arrays = (case.variables, case.data(seed + 11), case.data(seed + 12), case.cond())
    return laws.cast(arrays, dtype)


def assert_obeys(case, *, by_reverse_mode):
    with jax.enable_x64(True):
        variables, x, w, cond = arguments(case, np.float64)
        # One program for the whole test, which is how long its compilation takes.
        mapped = laws.both_and_derivatives if by_reverse_mode else laws.both_jitted
        if not by_reverse_mode:
            x, w, cond = laws.surrounded(case, x, w, cond)
        seen = laws.trips(case, variables, x, w, cond, mapped)
        assert seen.there.value.dtype == np.float64
        assert np.max(np.abs(seen.there.value - x)) > 0.1, "the map is near identity"
        laws.assert_trips(seen, x, w, 1e-9)
        if by_reverse_mode:
            _, _, derived = mapped(case, variables, x, w, cond)
            log_det = derived.log_det
            assert all(
                np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(derived.gradients)
            )
        else:
            log_det = np.linalg.slogdet(laws.jacobians(case, seen.there.value))[1]
        laws.assert_close(log_det, seen.there.log_det[-len(log_det) :], 1e-9, "log_det")
        for last_row in (10.0, np.nan):
            other_x, other_w = np.array(x), np.array(w)
            other_x[-1] = other_w[-1] = last_row
            changed = laws.trips(case, variables, other_x, other_w, cond, mapped)
            laws.assert_rows_apart(seen, changed, 1e-12)


@over_all
def test_float64(case):
    """One of each bijector is differentiated, which is most of a compilation."""
    assert_obeys(case, by_reverse_mode=case in FIRST)


# In CI this is done with one of each bijector, above.
@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [case for case in BIJECTORS + FLOWS if case not in FIRST],
    ids=lambda case: case.name,
)
def test_gradients_in_float64(case):
    assert_obeys(case, by_reverse_mode=True)


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
