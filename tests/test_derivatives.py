"""Second derivatives and forward mode of every kind of flow, in both directions."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.combinators import Repeat
from fdnf.bijectors.masked_conv import MaskedConv
from fdnf.bijectors.residual import Residual
from fdnf.flows.affine import Affine
from fdnf.flows.continuous import ContinuousFlow
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.iresnet import IResNet
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.mintnet import MintNet
from fdnf.flows.nice import NICE
from fdnf.flows.pixelcnn import PixelCNN, PixelIAF
from fdnf.flows.realnvp import RealNVP
from fdnf.flows.tarflow import TarFlow
from fdnf.losses import distillation
from tests import laws
from tests.flows import test_waveglow
from tests.flows.tiny_srflow import SIZES, OfVectors

Case = laws.Case
drawn = functools.partial(Case, start=False)
TIGHT = {"tolerance": 1e-13}
# Stacks with more than one step, whose loop is a `scan`.
SMALL = {"steps": 2, "hidden": (5,), "unroll": 1, "activation": "tanh"}

CASES = [
    Case("affine", Affine(), (3,), noise=0.2),
    Case("continuous", ContinuousFlow((4,), time_features=2, steps=1), (2,)),
    Case("glow", TabularGlow(steps=2, hidden=4, depth=1), (3,)),
    drawn("glow_plu", TabularGlow(steps=2, hidden=4, depth=1, plu=True), (3,)),
    Case("glow_image", Glow(1, 2, 3), (2, 2, 2), noise=0.05),
    drawn("maf", MAF(**SMALL), (3,)),
    Case("maf_blocked", MAF(**SMALL, inverse="blocked", **TIGHT), (3,)),
    Case("maf_jacobi", MAF(**SMALL, inverse="jacobi", **TIGHT), (3,)),
    Case("maf_cond", MAF(**SMALL), (3,), 2),
    Case("iaf", IAF(**SMALL), (3,)),
    Case("iresnet", IResNet(2, (4,), **TIGHT), (2,)),
    Case("residual", Residual((3,), **TIGHT), (2,)),
    Case(
        "masked_conv",
        Repeat(MaskedConv(2, **TIGHT), 2, unroll=1, remat=True),
        (2, 2, 1),
        noise=0.2,
    ),
    Case("mintnet", MintNet(1, 1, hidden=2, **TIGHT), (2, 2, 1), noise=0.2),
    Case("nice", NICE(steps=2, hidden=(4,)), (3,)),
    drawn("pixelcnn", PixelCNN(1, 2, 1, 1, **TIGHT), (2, 2, 1), noise=0.5),
    Case("pixelcnn_iaf", PixelIAF(1, 2, 1, 1, **TIGHT), (2, 2, 1), noise=0.2),
    Case(
        "pixelcnn_jacobi",
        PixelCNN(1, 2, 1, 1, inverse="jacobi", **TIGHT),
        (2, 2, 1),
        noise=0.2,
    ),
    Case(
        "realnvp_spline",
        RealNVP(
            2,
            (4, 4),
            unroll=1,
            transformer={"name": "spline", "bins": 2},
            partition="half",
            mixing="reverse",
            conditioner="residual",
        ),
        (3,),
        noise=0.7,
    ),
    Case("realnvp", RealNVP(unroll=1, steps=2, hidden=(4,)), (3,), noise=0.4),
    drawn("tarflow", TarFlow(2, 1, 4, 2, unroll=1, **TIGHT), (3,), noise=1.0),
    Case(
        "srflow",
        OfVectors(**{**SIZES, "steps": 1, "transitions": 0}),
        (8, 8, 1),
        context=4,
        noise=0.05,
    ),
    test_waveglow.TWO,
]


class Seen(NamedTuple):
    """What automatic differentiation says along one direction, and differences.

    Attributes:
      slope: forward mode.
      slope_expected: by differences of the value.
      over_reverse: Hessian times the direction, forward over reverse.
      over_reverse_expected: by differences of the gradient.
      twice_reverse: the same, reverse over reverse.
    """

    slope: Any
    slope_expected: Any
    over_reverse: Any
    over_reverse_expected: Any
    twice_reverse: Any


@functools.partial(jax.jit, static_argnums=0)
def _at_once(function, at, along):
    """Value, gradient, and what forward and reverse mode make of both.

    The gradient is differentiated once, forwards, and what that gives is transposed: so
    all orders and modes come from one pass over the program.
    """
    (value, gradient), forward = jax.linearize(jax.value_and_grad(function), at)
    slope, over_reverse = forward(along)
    transposed = jax.linear_transpose(forward, at)
    (twice_reverse,) = transposed((jnp.zeros_like(slope), along))
    return value, gradient, slope, over_reverse, twice_reverse


def derived(function, at, along, step) -> Seen:
    """`function` of one tree, differentiated along a tree like it.

    Differences are taken of the same program, the one that is compiled.
    """

    def found(by):
        moved = jax.tree.map(lambda a, b: a + by * b, at, along)
        return jax.device_get(_at_once(function, moved, along))

    ends = found(step)[:2], found(-step)[:2]
    expected = jax.tree.map(lambda a, b: (a - b) / (2 * step), *ends)
    _, _, slope, over_reverse, twice_reverse = found(0.0)
    return Seen(slope, expected[0], over_reverse, expected[1], twice_reverse)


def assert_agree(seen: Seen) -> None:
    pairs = [
        (seen.slope_expected, seen.slope, "forward mode"),
        (seen.over_reverse_expected, seen.over_reverse, "forward over reverse"),
        (seen.over_reverse_expected, seen.twice_reverse, "reverse over reverse"),
    ]
    for expected, found, what in pairs:
        size = max(np.max(np.abs(leaf)) for leaf in jax.tree.leaves(expected))
        assert size > 1e-3, f"{what}: nothing to see"
        for one, two in zip(
            jax.tree.leaves(expected), jax.tree.leaves(found), strict=True
        ):
            # Differences err by the third derivative, whatever the size of the first.
            atol = 3e-7 * max(1.0, size)
            np.testing.assert_allclose(two, one, rtol=0, atol=atol, err_msg=what)


def direction(tree):
    """A tree like this one, of numbers about 1."""
    draw = np.random.default_rng(5)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(size=leaf.shape)), tree)


@functools.cache
def objective(case):
    """A function of parameters, data and latents that both directions enter."""

    def function(tree):
        variables, x, w, cond = tree["fixed"], tree["x"], tree["w"], tree["cond"]
        variables = {**variables, "params": tree["params"]}
        there, back = case.forward(variables, x, cond), case.inverse(variables, w, cond)
        terms = (there.value, there.log_det, back.value, back.log_det)
        return sum(jnp.mean(jnp.sin(term)) for term in terms)

    return function


@functools.cache
def within(case):
    """`objective` of what moves; constants stay."""
    whole = objective(case)
    with jax.enable_x64(True):
        fixed = {k: v for k, v in case.variables.items() if k != "params"}
        fixed = jax.tree.map(np.asarray, fixed)
    return lambda moving: whole({**moving, "fixed": fixed})


# Made of what others are made of, or most of a minute in the compiler.
ALIKE = (
    *("iresnet", "maf_blocked", "maf_cond", "nice", "pixelcnn_iaf", "pixelcnn_jacobi"),
    *("iaf", "maf_jacobi"),
    *("realnvp", "srflow", "glow", "glow_plu", "glow_image", "mintnet", "pixelcnn"),
    *("realnvp_spline", "two_stages", "tarflow", "continuous", "masked_conv"),
)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=case.name, marks=[pytest.mark.slow] * (case.name in ALIKE)
        )
        for case in CASES
    ],
)
def test_every_order_and_mode_equals_differences(case):
    with jax.enable_x64(True):
        parts = (case.variables["params"], case.data(11), case.data(12), case.cond())
        at = dict(zip(("params", "x", "w", "cond"), parts, strict=True))
        at = laws.cast({k: v for k, v in at.items() if v is not None}, np.float64)
        function = within(case)
        if "cond" not in at:
            function = _without_cond(function)
        assert_agree(derived(function, at, direction(at), 1e-5))


def _without_cond(function):
    return lambda moving: function({**moving, "cond": None})


def test_forward_mode_passes_through_the_losses_of_samples():
    student = drawn("student", MAF(**SMALL), (3,))
    teacher = drawn("teacher", MAF(**SMALL), (3,), noise=0.6)
    with jax.enable_x64(True):
        x, z = (laws.cast(student.data(seed), np.float64) for seed in (3, 4))
        own, theirs = (laws.cast(c.variables, np.float64) for c in (student, teacher))

        def loss(variables):
            flows = (student.module, teacher.module, variables, theirs)
            weights = (0.5, 0.3, 0.2)
            return distillation.combined(
                *flows, x, (z,), weights=weights, distance="l2"
            )[0]

        assert_agree(derived(loss, own, direction(own), 1e-5))
