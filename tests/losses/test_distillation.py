"""Distillation losses of this package's flows: identities, gradients, settings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import types
from fdnf.flows.glow import TabularGlow
from fdnf.flows.maf import MAF
from fdnf.flows.nice import NICE
from fdnf.losses import distillation, levels, presets
from tests import floats, laws

DIM = 4
STUDENT = laws.Case(
    "student", TabularGlow(unroll=1, steps=2, hidden=8, depth=1), noise=0.2
)
TEACHER = laws.Case("teacher", MAF(unroll=1, steps=4, hidden=(8,)), noise=0.2)
X = STUDENT.data(batch=6)
Z = (STUDENT.data(seed=4, batch=6),)
# Where flows are no matter: quickly traced.
QUICK = (
    laws.Case("quick", NICE(steps=2, hidden=(4,)), noise=0.2),
    # Other noise: else the first blocks of both would be the same.
    laws.Case("taught", NICE(steps=4, hidden=(4,)), noise=0.4),
)


def quick():
    """Flows and variables, of student and teacher."""
    return *(case.module for case in QUICK), *(case.variables for case in QUICK)


LOSSES = {
    "lkd": (distillation.lkd, X, {}),
    "ilkd": (distillation.ilkd, X, {"pairs": "ratio"}),
    "skd": (distillation.skd, Z, {}),
    "combined": (
        functools.partial(distillation.combined, z=Z),
        X,
        {"weights": (0.8, 0.1, 0.1), "pairs": "ratio"},
    ),
    "combined_final": (
        distillation.combined,
        X,
        {"weights": (0.9, 0.1, 0.0), "latents": "final"},
    ),
}
over_losses = pytest.mark.parametrize("name", LOSSES)


@pytest.mark.parametrize("name", ["lkd", "ilkd", "skd"])
@pytest.mark.parametrize("case", [STUDENT, TEACHER], ids=["glow", "maf"])
def test_zero_where_student_is_teacher(name, case):
    loss, argument, settings = LOSSES[name]
    value, aux = loss(
        case.module, case.module, case.variables, case.variables, argument, **settings
    )
    assert value == pytest.approx(0.0, abs=1e-5)
    assert all(gap == pytest.approx(0.0, abs=1e-5) for gap in aux.per_level)


@over_losses
def test_gradients_reach_the_student_and_never_the_teacher(name):
    """Under jit, with static flows."""
    loss, argument, settings = LOSSES[name]
    gradient = jax.value_and_grad(
        functools.partial(loss, **settings), argnums=(2, 3), has_aux=True
    )
    flows = (STUDENT.module, TEACHER.module, STUDENT.variables, TEACHER.variables)
    jitted = jax.jit(gradient, static_argnums=(0, 1))
    (value, aux), (student, teacher) = jitted(*flows, argument)
    plain, _ = loss(*flows, argument, **settings)
    assert value == pytest.approx(float(plain), rel=1e-5)
    assert np.isfinite(value)
    assert value.dtype == jnp.float32
    assert value.shape == ()
    assert isinstance(aux, types.Aux)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(teacher))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(student))
    moved = [np.any(leaf != 0) for leaf in jax.tree.leaves(student)]
    assert np.mean(moved) > 0.9


def test_nll_under_jit_and_grad():
    value, aux = distillation.nll(STUDENT.module, STUDENT.variables, X)
    log_prob = STUDENT.module.apply(STUDENT.variables, X, method="log_prob")
    assert value == pytest.approx(-float(np.mean(log_prob)), rel=1e-5)
    assert isinstance(aux.student, types.Encoding)
    jitted = jax.jit(distillation.nll, static_argnums=0)
    again, _ = jitted(STUDENT.module, STUDENT.variables, X)
    assert again == pytest.approx(float(value), rel=1e-5)
    gradient = jax.value_and_grad(distillation.nll, argnums=1, has_aux=True)
    (again, _), slope = jax.jit(gradient, static_argnums=0)(
        STUDENT.module, STUDENT.variables, X
    )
    assert again == pytest.approx(float(value), rel=1e-5)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("latents", ["levels", "final"])
def test_combined_is_the_weighted_sum_of_its_terms(latents):
    flows = quick()
    weights = (0.7, 0.2, 0.4)
    common = {"distance": "l2", "reduction": "sum"}
    nll, _ = distillation.nll(flows[0], flows[2], X)
    skd, _ = distillation.skd(*flows, Z, **common)
    if latents == "levels":
        latent, _ = distillation.ilkd(*flows, X, pairs="ratio", **common)
    else:
        latent, _ = distillation.lkd(*flows, X, **common)
    loss, aux = distillation.combined(
        *flows, X, Z, weights=weights, latents=latents, pairs="ratio", **common
    )
    name = "ilkd" if latents == "levels" else "lkd"
    assert set(aux.terms) == {"nll", name, "skd", "rejected"}
    for got, expected in ((aux.terms["nll"], nll), (aux.terms[name], latent)):
        assert got == pytest.approx(float(expected), rel=1e-5)
    assert aux.terms["skd"] == pytest.approx(float(skd), rel=1e-5)
    expected = weights[0] * nll + weights[1] * latent + weights[2] * skd
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert len(aux.per_level) == (3 if latents == "levels" else 1)


def test_latents_of_every_other_row_are_compared_and_all_count_in_the_likelihood():
    flows = quick()
    settings = {"weights": (0.8, 0.5, 0.0), "pairs": "ratio"}

    def loss(variables, every):
        given = (*flows[:2], variables, flows[3])
        return distillation.combined(*given, X, every=every, **settings)

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (value, aux), slope = gradient(flows[2], 2)

    def expected(variables):
        given = (*flows[:2], variables, flows[3])
        nll = distillation.nll(flows[0], variables, X)[0]
        return 0.8 * nll + 0.5 * distillation.ilkd(*given, X[::2], pairs="ratio")[0]

    wanted, theirs = jax.jit(jax.value_and_grad(expected))(flows[2])
    floats.assert_close(value, wanted, 1e-5)
    for ours, other in zip(*map(jax.tree.leaves, (slope, theirs)), strict=True):
        floats.assert_close(ours, other, 1e-4)
    assert aux.teacher[0].log_det.shape == (3,)
    assert aux.student[0].log_det.shape == (6,)


def test_terms_of_weight_zero_are_not_computed():
    broken = types.ExternalFlow()
    loss, aux = distillation.combined(
        STUDENT.module, broken, STUDENT.variables, {}, X, weights=(1.0, 0.0, 0.0)
    )
    assert set(aux.terms) == {"nll"}
    assert loss == aux.terms["nll"]
    with pytest.raises(ValueError, match="ExternalFlow has no 'encode'"):
        distillation.lkd(STUDENT.module, broken, STUDENT.variables, {}, X)


def test_one_program_serves_runs_of_other_weights():
    """Traced weights, under vmap too, give what the numbers give."""
    flows = quick()
    grid = jnp.asarray([[0.7, 0.2, 0.1], [0.5, 0.0, 2.0]])
    common = {"pairs": "ratio", "distance": "l2"}

    def slope(variables, weights, **terms):
        def loss(variables):
            args = (*flows[:2], variables, flows[3], X, Z)
            return distillation.combined(*args, weights=weights, **terms, **common)[0]

        return jax.value_and_grad(loss)(variables)

    together = jax.jit(jax.vmap(lambda w: slope(flows[2], w)))(grid)
    for i, weights in enumerate(grid):
        alone = jax.jit(functools.partial(slope, weights=tuple(weights.tolist())))
        alone = alone(flows[2])
        for got, want in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
            np.testing.assert_allclose(got[i], want, rtol=2e-4, atol=1e-5)
    # A term that is off is not computed, whatever its weight.
    off, aux = distillation.combined(
        *flows, X, weights=grid[0], terms=("nll", "latents"), **common
    )
    assert set(aux.terms) == {"nll", "ilkd"}
    expected = 0.7 * aux.terms["nll"] + 0.2 * aux.terms["ilkd"]
    assert off == pytest.approx(float(expected), rel=1e-6)


def test_samples_have_a_context_of_their_own():
    case = laws.Case("cond", MAF(unroll=1, steps=2, hidden=(8,)), context=2, noise=0.3)
    other = laws.perturb(case.variables, 0.2, seed=1)
    x, cond = case.data(batch=6), case.cond(batch=6)
    flows = (case.module, case.module, other, case.variables)
    z = (x[:3],)

    @jax.jit
    def both():
        given = (*flows, x, z, cond, cond[::2])
        _, aux = distillation.combined(*given, weights=(1.0, 0.1, 0.1))
        return aux.terms["skd"], distillation.skd(*flows, z, cond[::2])[0]

    found, skd = both()
    assert found == pytest.approx(float(skd), rel=1e-5)


def test_errors_of_combined():
    call = functools.partial(
        distillation.combined,
        STUDENT.module,
        TEACHER.module,
        STUDENT.variables,
        TEACHER.variables,
        X,
    )
    with pytest.raises(ValueError, match="ask for SKD, which needs latents z"):
        call(weights=(0.8, 0.1, 0.1), pairs="ratio")
    with pytest.raises(ValueError, match="2 weights: expected one each of"):
        call(weights=(0.8, 0.1))
    with pytest.raises(ValueError, match="unknown terms .'skd',."):
        call(terms=("skd",))
    with pytest.raises(ValueError, match="unknown latents 'all'"):
        call(latents="all")
    with pytest.raises(ValueError, match="unknown over_levels 'max'"):
        call(over_levels="max", pairs="ratio")
    with pytest.raises(ValueError, match="unknown distance 'l3'"):
        call(distance="l3", pairs="ratio")


def test_conditional_flows_share_the_context():
    case = laws.Case("cond", MAF(unroll=1, steps=2, hidden=(8,)), context=2, noise=0.3)
    other = laws.perturb(case.variables, 0.2, seed=1)
    x, cond = case.data(), case.cond()
    flows = (case.module, case.module, other, case.variables)
    ilkd = jax.jit(lambda cond: distillation.ilkd(*flows, x, cond)[0])
    loss, moved = ilkd(cond), ilkd(-cond)
    assert loss > 0
    assert moved != pytest.approx(float(loss), rel=1e-4)


A = jnp.asarray([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
B = jnp.asarray([[1.0, 0.0, 6.0], [1.0, -1.0, 2.0]])


@pytest.mark.parametrize(
    ("name", "reduction", "expected"),
    [
        ("l1", "sum", [5.0, 4.0]),
        ("l1", "mean", [5.0 / 3, 4.0 / 3]),
        ("l2", "sum", [13.0, 6.0]),
        ("l2", "mean", [13.0 / 3, 2.0]),
    ],
)
def test_values(name, reduction, expected):
    got = levels.rowwise(A, B, name, reduction)
    floats.assert_close(got, expected, rtol=1e-6)


def test_a_tuple_is_one_long_event():
    whole = levels.rowwise(A, B, "l2", "mean")
    parts = levels.rowwise((A[:, :1], A[:, 1:]), (B[:, :1], B[:, 1:]), "l2", "mean")
    floats.assert_close(parts, whole, rtol=1e-6)


def test_images_are_reduced_over_all_axes():
    a, b = A.reshape(2, 1, 3, 1), B.reshape(2, 1, 3, 1)
    floats.assert_close(levels.rowwise(a, b), levels.rowwise(A, B))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((A, B, "l3"), r"unknown distance 'l3'; known: .*'cosine'"),
        ((A, B, "l1", "max"), "unknown reduction 'max'"),
        ((A, B[:, :2]), r"student has shapes \[\(2, 3\)\], teacher \[\(2, 2\)\]"),
        (((A, A), B), "student has shapes"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        levels.rowwise(*arguments)


METHODS = [(source, m) for source in presets.PRESETS for m in presets.PAPER]


@pytest.mark.parametrize(("source", "method"), METHODS)
def test_combined_takes_every_preset(source, method):
    case = laws.Case("nice", NICE(steps=2, hidden=(4,)), noise=0.2)
    settings = presets.preset(source, method)
    assert sum(settings["weights"]) == pytest.approx(1.0)
    loss, aux = jax.eval_shape(
        lambda v, x: distillation.combined(
            case.module, case.module, v, v, x, (x,), **settings
        ),
        case.variables,
        case.data(),
    )
    assert loss.shape == ()
    expected = {"nll", "lkd"} if method == "lkd" else {"nll", "ilkd"}
    if method == "skd":
        expected |= {"skd", "rejected"}
    assert set(aux.terms) == expected


def test_papers_weights():
    assert presets.preset("paper", "skd")["weights"] == (0.85, 0.075, 0.075)
    assert presets.preset("official", "skd")["weights"] == (0.85, 0.05, 0.1)
    assert presets.preset("paper", "ilkd")["distance"] == "l1"
    assert presets.preset("official", "ilkd")["distance"] == "l2"
    # The released code: mean squares of latents, L1 of samples.
    assert presets.preset("official", "skd")["distance"] == "l2"
    assert presets.preset("official", "skd")["sample_distance"] == "l1"
    assert presets.preset("official", "skd")["pairs"] == "released"


def test_samples_may_have_a_distance_of_their_own():
    case = laws.Case("nice", NICE(steps=2, hidden=(4,)), noise=0.2)
    teacher = jax.tree.map(lambda leaf: 1.1 * leaf, case.variables)
    x = case.data()

    def terms(**settings):
        flows = case.module, case.module, case.variables, teacher
        weights = (0.0, 1.0, 1.0)
        loss = jax.jit(
            lambda: distillation.combined(*flows, x, (x,), weights=weights, **settings)
        )
        return loss()[1].terms

    both = terms(distance="l2", sample_distance="l1")
    l1, l2 = terms(distance="l1"), terms(distance="l2")
    assert float(both["ilkd"]) == float(l2["ilkd"]) != float(l1["ilkd"])
    assert float(both["skd"]) == float(l1["skd"]) != float(l2["skd"])


def test_a_preset_is_a_copy():
    presets.preset("paper", "lkd")["weights"] = None
    assert presets.preset("paper", "lkd")["weights"] is not None


@pytest.mark.parametrize(
    ("source", "method", "match"),
    [
        ("thesis", "lkd", r"unknown preset 'thesis'; known: \['official', 'paper'\]"),
        ("paper", "kd", "unknown method 'kd'"),
    ],
)
def test_errors_of_presets(source, method, match):
    with pytest.raises(ValueError, match=match):
        presets.preset(source, method)
