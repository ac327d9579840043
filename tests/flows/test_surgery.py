"""Folded flows compute what they did; permutations are inherited."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.actnorm import ActNorm
from fdnf.bijectors.coupling import Coupling
from fdnf.bijectors.invertible_conv import InvertibleConv, InvertibleConvPLU
from fdnf.flows import surgery
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.realnvp import RealNVP
from fdnf.nets import mlp
from tests import floats, laws
from tests.flows import test_srflow, test_waveglow

EVENT = (4, 4, 2)
CHANNELS = {0: 8, 1: 16}


class Given(NamedTuple):
    """A flow with variables and data; what its inverse solves with, folded no more."""

    flow: nn.Module
    variables: Any
    x: Any
    cond: Any
    solver: str | None = None


@functools.cache
def given(name):
    if name == "srflow":
        x, cond = (test_srflow.images(*s) for s in (test_srflow.HR, test_srflow.LR))
        # A step with a coupling and one without.
        flow = test_srflow.LEAST.clone(transitions=1)
        # LU factorisations are what the inverse and the determinant are made of.
        return Given(flow, laws.drawn(flow, x, cond), x, cond, "= lu ")
    if name == "waveglow":
        case = test_waveglow.TWO
        x, cond = case.data(), case.cond()
        return Given(case.module, case.variables, x, cond, "triangular_solve")
    masked = {"hidden": (6, 5), "unroll": 1}
    if name in ("maf", "iaf"):
        flow = {
            "maf": MAF(2, **masked, rank=2, mixing="lu", marginal="affine"),
            "iaf": IAF(2, **masked | {"hidden": (6, 6)}, conditioner="residual"),
        }[name]
        context = None if name == "maf" else 2
        case = laws.Case(name, flow, (4,), context, start=False)
        return Given(flow, case.variables, case.data(), case.cond(), None)
    flow, context, solver = {
        "plu": (Glow(1, 2, 4, learn_top=True), None, "triangular_solve"),
        "full": (Glow(1, 2, 4, plu=False), None, None),
        "cond": (Glow(1, 2, 4), 3, None),
    }[name]
    case = laws.Case(name, flow, EVENT, context, noise=0.3, start=False)
    return Given(flow, case.variables, case.data(), case.cond(), solver)


@functools.cache
def folded(name):
    flow, variables, *_ = given(name)
    before = copied(variables)
    found = surgery.fold(flow, variables)
    jax.tree.map(np.testing.assert_array_equal, variables, before)
    assert found[0] == flow.clone(folded=True)
    return found


@functools.partial(jax.jit, static_argnums=0)
def both_ways(flow, variables, x, z, cond=None):
    encoding = flow.apply(variables, x, cond)
    return encoding, flow.apply(variables, z, cond, method="decode")


def copied(tree):
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


# Made of the steps that a Glow is made of.
OTHERS = [
    pytest.param(n, marks=pytest.mark.slow) for n in ("cond", "srflow", "waveglow")
]
over_flows = pytest.mark.parametrize("name", ["plu", "full", *OTHERS, "maf", "iaf"])


@over_flows
def test_a_folded_flow_is_the_same_map(name):
    flow, variables, x, cond, _ = given(name)
    z = flow.draw(jax.random.key(1), x.shape)
    expected = both_ways(flow, variables, x, z, cond)
    found = both_ways(*folded(name), x, z, cond)
    tolerance = 1e-5 if name == "waveglow" else 1e-4
    laws.assert_close(expected, found, tolerance, "folded")
    if isinstance(flow, Glow):
        floats.assert_close(expected[0].log_prob, found[0].log_prob, rtol=1e-5)


@over_flows
def test_folded_variables_are_those_that_init_makes(name):
    _, _, x, cond, _ = given(name)
    flow, its = folded(name)
    assert_like_init(flow, its, x, cond)


def assert_like_init(flow, its, x, cond):
    shapes = jax.eval_shape(flow.init, jax.random.key(0), x, cond)
    assert jax.tree.structure(its) == jax.tree.structure(shapes)
    for one, two in zip(jax.tree.leaves(its), jax.tree.leaves(shapes), strict=True):
        assert (one.shape, one.dtype) == (two.shape, two.dtype)


def test_srflow_without_opening_steps():
    _, _, x, cond, _ = given("srflow")
    flow = test_srflow.LEAST
    shapes = jax.eval_shape(flow.init, jax.random.key(0), x, cond)
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes
    )
    assert_like_init(*surgery.fold(flow, drawn), x, cond)


@pytest.mark.parametrize("name", ["plu", "srflow", "waveglow"])
def test_folding_solves_nothing(name):
    flow, variables, x, cond, solver = given(name)
    z = flow.draw(jax.random.key(1), x.shape)

    def program(flow, variables):
        def run(z):
            return flow.apply(variables, z, cond, method="decode").x

        return str(jax.make_jaxpr(run)(z))

    assert solver in program(flow, variables)
    assert solver not in program(*folded(name))


def test_inverses_are_exact():
    _, its = folded("waveglow")
    for i in range(2):
        linear = its["params"][f"stages_{i}"]["step"]["parts_0"]
        wide = np.asarray(linear["weight"], np.float64)
        expected = np.linalg.inv(wide).astype(np.float32)
        floats.assert_close(linear["inverse"], expected, rtol=2e-7)
        floats.assert_close(linear["log_det"], np.linalg.slogdet(wide)[1])


def test_what_cannot_be_folded_is_refused():
    for name in ("plu", "srflow", "waveglow"):
        with pytest.raises(ValueError, match="folded already"):
            surgery.fold(*folded(name))
    with pytest.raises(ValueError, match="RealNVP cannot be folded: expected Glow, SR"):
        surgery.fold(RealNVP(), {})


def test_the_student_of_a_folded_teacher_is_not_folded():
    flow, _ = folded("maf")
    assert IAF.of(flow) == IAF.of(flow.clone(folded=False))


@pytest.mark.parametrize("name", ["maf", "iaf"])
def test_masks_are_no_part_of_the_program(name):
    flow, variables, x, cond, _ = given(name)

    def masks(flow, variables):
        run = jax.make_jaxpr(flow.apply)(variables, x, cond)
        return sum(np.ndim(const) > 1 for const in run.consts)

    assert masks(flow, variables) >= 3
    assert masks(*folded(name)) == 0


@functools.cache
def glow_shapes(flow):
    return jax.eval_shape(flow.init, jax.random.key(0), jnp.zeros((2, *EVENT)))


def glow(steps, seed, levels=2, noise=1.0, **settings):
    """Variables of a Glow, by shapes alone but for the constants, which are drawn."""
    shapes = glow_shapes(Glow(levels, steps, 4, **settings))
    rng = np.random.default_rng(seed)

    def drawn(path, leaf):
        if path[-1].key == "permutation":
            rows = [rng.permutation(leaf.shape[-1]) for _ in range(leaf.shape[0])]
            return np.asarray(np.eye(leaf.shape[-1])[np.stack(rows)], leaf.dtype)
        return np.asarray(noise * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(drawn, shapes)


def permutations(variables, level):
    stack = variables["constants"][f"stacks_{level}"]["parts_1"]["step"]
    return np.asarray(stack["parts_1"]["permutation"])


def indices(permutation):
    """y[i] = x[indices[i]]: each row of P has its 1 there."""
    np.testing.assert_array_equal(permutation.sum(axis=-1), 1.0)
    return permutation.argmax(axis=-1)


@pytest.mark.parametrize(
    ("short", "long", "runs"),
    [
        (1, 4, [(0, 4)]),
        (2, 4, [(0, 2), (2, 4)]),
        # Ends at ceil(k 5 / 3): 2, 4, 5; and at ceil(k 8 / 3): 3, 6, 8.
        (3, 5, [(0, 2), (2, 4), (4, 5)]),
        (3, 8, [(0, 3), (3, 6), (6, 8)]),
        (4, 4, [(0, 1), (1, 2), (2, 3), (3, 4)]),
    ],
)
def test_permutations_are_composed_in_the_order_of_the_steps(short, long, runs):
    student, teacher = glow(short, seed=0), glow(long, seed=1)
    found = surgery.inherit_permutations(student, teacher)
    for level, channels in CHANNELS.items():
        own, theirs = permutations(found, level), permutations(teacher, level)
        for k, (start, end) in enumerate(runs):
            # What the teacher's steps do to numbered channels, one after another.
            numbered = np.arange(channels)
            for p in theirs[start:end]:
                numbered = numbered[indices(p)]
            np.testing.assert_array_equal(indices(own[k]), numbered)
            y = own[k] @ np.arange(channels)
            np.testing.assert_array_equal(y, numbered)


def test_runs_that_do_not_commute_tell_the_order():
    # The test above would pass for products in the wrong order if these were equal.
    first, second = permutations(glow(2, seed=1), 0)
    assert not np.array_equal(first @ second, second @ first)


def test_equally_many_steps_get_exactly_the_teachers():
    student, teacher = glow(3, seed=0), glow(3, seed=1)
    found = surgery.inherit_permutations(student, teacher)
    for level in CHANNELS:
        np.testing.assert_array_equal(
            permutations(found, level), permutations(teacher, level)
        )


def test_only_the_permutations_change_and_no_argument_does():
    student, teacher = glow(2, seed=0), glow(4, seed=1)
    before = copied((student, teacher))
    found = surgery.inherit_permutations(student, teacher)
    jax.tree.map(np.testing.assert_array_equal, (student, teacher), before)
    assert jax.tree.structure(found) == jax.tree.structure(student)
    changed = [
        jax.tree_util.keystr(path)
        for (path, one), two in zip(
            jax.tree_util.tree_leaves_with_path(found),
            jax.tree.leaves(student),
            strict=True,
        )
        if not np.array_equal(one, two)
    ]
    assert changed == [
        f"['constants']['stacks_{i}']['parts_1']['step']['parts_1']['permutation']"
        for i in CHANNELS
    ]
    jax.tree.map(np.testing.assert_array_equal, found["params"], student["params"])


def test_an_heir_is_a_flow_like_any_other():
    flow, mine, x, *_ = given("plu")
    teacher = glow(4, seed=1, levels=1)
    variables = surgery.inherit_permutations(mine, teacher)
    z = flow.draw(jax.random.key(1), x.shape)
    plain, _ = both_ways(flow, mine, x, z)
    encoding, _ = both_ways(flow, variables, x, z)
    assert np.max(np.abs(encoding.z[-1] - plain.z[-1])) > 0.1
    _, decoding = both_ways(flow, variables, x, encoding.z)
    laws.assert_close(x, decoding.x, 1e-4, "round trip")
    np.testing.assert_allclose(encoding.log_det, -decoding.log_det, atol=1e-3)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ({"steps": 2}, {"steps": 2, "plu": False}, "teacher in .*expected two Glows"),
        ({"steps": 2, "plu": False}, {"steps": 2, "plu": False}, "student has perm"),
        ({"steps": 2, "levels": 1}, {"steps": 2}, "equally many levels"),
        ({"steps": 3}, {"steps": 2}, "at most as many steps"),
    ],
)
def test_what_does_not_fit_is_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        surgery.inherit_permutations(glow(seed=0, **student), glow(seed=1, **teacher))


def test_other_channels_are_refused():
    teacher = glow(2, seed=1, levels=1)
    shapes = jax.eval_shape(
        Glow(1, 2, 4).init, jax.random.key(0), jnp.zeros((2, 4, 4, 1))
    )
    student = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    with pytest.raises(ValueError, match="expected equal channels"):
        surgery.inherit_permutations(student, teacher)


def of_step(tree, k):
    return jax.tree.map(lambda leaf: leaf[k], tree)


@pytest.mark.parametrize(
    ("short", "kept", "plu"),
    [
        (2, (1, 3), True),
        (3, (1, 2, 3), False),
        pytest.param(3, (1, 2, 3), True, marks=pytest.mark.slow),
        pytest.param(2, (1, 3), False, marks=pytest.mark.slow),
        pytest.param(4, range(4), True, marks=pytest.mark.slow),
        pytest.param(4, range(4), False, marks=pytest.mark.slow),
    ],
)
def test_a_glow_without_some_couplings_keeps_all_its_linear_maps(short, kept, plu):
    long, x = (
        TabularGlow(4, 4, 1, plu=plu),
        jax.random.normal(jax.random.key(1), (7, 4)),
    )
    # No two steps are alike; networks, norms and maps all act.
    variables = laws.drawn(long, x, noise=0.3)
    flow, found = surgery.thinned(long, variables, short)
    assert flow == long.clone(steps=short)
    # The teacher's own steps, of which some have no coupling.
    params = variables["params"]["stack"]["step"]
    drawn = variables.get("constants", {}).get("stack", {}).get("step", {})
    parts = ActNorm(), InvertibleConvPLU() if plu else InvertibleConv()
    coupling = Coupling(mlp.MLP((4,), last_activation="tanh"), long.transformer)
    h, total = x, 0.0
    applied = {part: jax.jit(part.apply) for part in (*parts, coupling)}
    for k in range(4):
        for i, part in enumerate((*parts, coupling)):
            if part is coupling and k not in kept:
                continue
            own = {"params": of_step(params[f"parts_{i}"], k)}
            if f"parts_{i}" in drawn:
                own["constants"] = of_step(drawn[f"parts_{i}"], k)
            h, log_det = applied[part](own, h)
            total += log_det
    encoding = flow.apply(found, x)
    floats.assert_close(encoding.z[0], h, rtol=1e-4)
    floats.assert_close(encoding.log_det, total, rtol=1e-4)


def test_levels_of_a_glow_of_images_are_thinned_each():
    long, variables = Glow(2, 2, 4), glow(2, seed=0, noise=0.3)
    _, found = surgery.thinned(long, variables, 2)
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    flow, found = surgery.thinned(long, variables, 1)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, glow_shapes(flow))
    for level in CHANNELS:
        # The coupling of the last of the steps is kept.
        one, two = (
            tree["params"][f"stacks_{level}"]["parts_1"]["step"]["parts_2"]
            for tree in (found, variables)
        )
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[1:]), one, two)


@pytest.mark.parametrize(
    ("long", "short", "kept", "kind", "cond"),
    [
        (6, 3, (0, 3, 4), MAF, None),
        (5, 2, (2, 3), IAF, 2),
        pytest.param(3, 3, (0, 1, 2), MAF, None, marks=pytest.mark.slow),
        pytest.param(6, 3, (0, 3, 4), IAF, 2, marks=pytest.mark.slow),
        pytest.param(5, 2, (2, 3), MAF, None, marks=pytest.mark.slow),
    ],
)
def test_a_maf_keeps_blocks_of_the_order_that_they_have(long, short, kept, kind, cond):
    x = jax.random.normal(jax.random.key(1), (7, 3))
    cond = None if cond is None else jax.random.normal(jax.random.key(2), (7, cond))
    teacher = kind(long, (5,), unroll=1)
    variables = laws.drawn(teacher, x, cond, noise=0.3)
    flow, found = surgery.thinned(teacher, variables, short)
    one = jax.jit(kind(1, (5,), unroll=1).apply)
    h = x
    for at, k in enumerate(kept):
        # One block by itself takes the columns as they come.
        stack = {
            "step": jax.tree.map(
                lambda leaf, k=k: leaf[k : k + 1], variables["params"]["stack"]["step"]
            )
        }
        h = jnp.flip(h, -1) if at % 2 else h
        h = one({"params": {"stack": stack}}, h, cond).z[0]
        h = jnp.flip(h, -1) if at % 2 else h
    floats.assert_close(flow.apply(found, x, cond).z[0], h, rtol=1e-4)


@pytest.mark.parametrize(
    ("flow", "steps", "match"),
    [
        (MAF(2, (4,)), 3, "3 steps of the 2 of a MAF"),
        (MAF(2, (4,)), 0, "0 steps"),
        (MAF(2, (4,), mixing="lu"), 1, "mixing='lu'.*expected 'reverse'"),
        (Glow(1, 2, 4, folded=True), 1, "not folded"),
        (RealNVP(2, (4,)), 1, "RealNVP: steps of a Glow, a TabularGlow, a MAF"),
    ],
)
def test_what_cannot_be_thinned_is_refused(flow, steps, match):
    with pytest.raises(ValueError, match=match):
        surgery.thinned(flow, {"params": {}}, steps)


def test_scales_that_one_step_cannot_have_are_refused():
    flow, x = TabularGlow(2, 4, 1), jnp.ones((2, 4))
    variables = laws.drawn(flow, x)
    norm = variables["params"]["stack"]["step"]["parts_0"]
    norm["raw_log_scale"] = jnp.full_like(norm["raw_log_scale"], 20.0)
    with pytest.raises(ValueError, match=r"beyond the e\^12 of one step"):
        surgery.thinned(flow, variables, 1)
