"""Guided distillation: exact students, plain numpy, differences, rows that explode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import types
from fdnf.flows.glow import Glow
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import RealNVP
from fdnf.losses import density, guided
from fdnf.ops import conditioners
from tests import floats, laws

TEACHER = MAF(3, (6,), unroll=1)
STUDENT = IAF.of(TEACHER)
FOREIGN = types.ExternalFlow(encode=lambda variables, x, cond=None: None)


@pytest.mark.parametrize(
    ("student", "teacher", "settings", "message"),
    [
        (IAF(2), TEACHER, {}, "local: the student has 2 blocks, the teacher 3; give"),
        (IAF(3, mixing="lu"), TEACHER, {}, r"of the order \('masked', 'lu'\), those"),
        (RealNVP(3), TEACHER, {}, "'coupling', 'alternating', 'none'.*IAF.of"),
        (NICE(3), TEACHER, {}, "a student NICE is no stack of equal blocks; train it"),
        (STUDENT, Glow(), {}, 'units="teacher": a teacher Glow does not tell how far'),
        (STUDENT, FOREIGN, {}, 'ExternalFlow does not.*measure in units="level"'),
        (
            STUDENT,
            FOREIGN,
            dict(terms=("parameters",)),
            "a teacher ExternalFlow does not tell what its blocks compute; leave",
        ),
        (STUDENT, TEACHER, dict(units="std"), "unknown units 'std'; known: .'teacher'"),
        (STUDENT, TEACHER, dict(terms=("path",)), "unknown terms .*'path_x'"),
        (STUDENT, TEACHER, dict(terms=()), "unknown terms"),
        (STUDENT, TEACHER, dict(robust=0.0), "robust=0.0: expected a number above 0"),
    ],
)
def test_flows_that_do_not_compare_are_refused(student, teacher, settings, message):
    with pytest.raises(ValueError, match=message):
        guided.check(student, teacher, **settings)


def test_what_compares_is_not_refused():
    everything = {"terms": guided.TERMS}
    assert guided.check(STUDENT, TEACHER, **everything) is None
    ends = ("path_x", "path_z", "kl", "forward_kl")
    for student in (RealNVP(2), NICE(2), IAF(5)):
        guided.check(student, TEACHER, terms=ends)
    for units in ("level", "plain"):
        guided.check(STUDENT, FOREIGN, terms=("local", *ends), units=units)
    guided.check(IAF(3), TEACHER, **everything)
    guided.check(RealNVP(2), RealNVP(2, hidden=(4,)))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"local": 0.0}, "turn on no term; known: .'local'"),
        ({"paths": 1.0}, r"weights of unknown terms \['paths'\]"),
        ((1.0, 2.0), "2 weights: expected one each of"),
    ],
)
def test_weights_are_of_terms(weights, message):
    with pytest.raises(ValueError, match=message):
        guided.terms_of(weights)
    assert guided.terms_of({"kl": 1.0, "local": 2.0, "path_z": 0}) == ("local", "kl")
    assert guided.terms_of((0, 0, 1, 0, 0, 2.0)) == ("path_z", "forward_kl")


# By plain numpy: blocks of one hidden layer, in the order of the data.
DIM, CONTEXT, K, ROWS, LIMIT, ROBUST = 3, 2, 3, 4, 50.0, 0.5
SHAPE = dict(hidden=(5,), activation="tanh", unroll=1)
MAFS = MAF(K, **SHAPE)
IAFS = IAF.of(MAFS)


def networks(variables):
    """Parameters of the K masked networks, [K, ...]."""
    step = variables["params"]["stack"]["step"]["parts_0"]
    return step.get("bijector", step)["made"]


def said(variables, k, side, cond):
    """Shift and raw log-scale of block k for what it sees, [rows, DIM] each."""
    made = {name: np.asarray(leaf[k]) for name, leaf in networks(variables).items()}
    first, last = conditioners.made_masks(DIM, SHAPE["hidden"], lowest=0)
    side = side[:, ::-1] if k % 2 else side
    h = side @ (made["dense_0_kernel"] * first) + made["dense_0_bias"]
    h = np.tanh(h + cond @ made["context_kernel"])
    out = h @ (made["dense_1_kernel"] * np.tile(last, (1, 2))) + made["dense_1_bias"]
    shift, raw = out[:, :DIM], out[:, DIM:]
    return (shift[:, ::-1], raw[:, ::-1]) if k % 2 else (shift, raw)


def scale(raw):
    return 5 * np.tanh(raw / 5)


def encoded(teacher, x, cond):
    """Activations h_0 .. h_K and what each block said."""
    sides, told = [x], []
    for k in range(K):
        told.append(said(teacher, k, sides[-1], cond))
        sides.append((sides[-1] - told[-1][0]) * np.exp(-scale(told[-1][1])))
    return sides, told


def decoded(student, z, cond):
    """s_0 .. s_K, and log_det of the way to s_0."""
    sides, log_det = [z], 0
    for k in reversed(range(K)):
        shift, raw = said(student, k, sides[0], cond)
        log_det = log_det + scale(raw).sum(axis=1)
        sides.insert(0, shift + sides[0] * np.exp(scale(raw)))
    return sides, log_det


def student_log_prob(student, x, cond):
    """Column by column."""
    log_det = 0
    for k in range(K):
        z = np.zeros_like(x)
        for i in range(DIM)[:: -1 if k % 2 else 1]:
            shift, raw = said(student, k, z, cond)
            z[:, i] = (x[:, i] - shift[:, i]) * np.exp(-scale(raw[:, i]))
        log_det = log_det - scale(said(student, k, z, cond)[1]).sum(axis=1)
        x = z
    return log_det + normal(x)


def normal(z):
    return -0.5 * np.sum(z**2 + np.log(2 * np.pi), axis=1)


def gap(a, b, unit=1.0):
    error = np.abs(a - b) / unit
    far = ROBUST**2 * (0.5 + np.log(np.maximum(error, ROBUST) / ROBUST))
    cost = np.where(error < ROBUST, error**2 / 2, far)
    return cost.mean(axis=1)


def units_of_samples(student, teacher, z, z_cond):
    """Scales of the teacher's blocks at what the student makes of z."""
    s, _ = decoded(student, z, z_cond)
    return [np.exp(scale(raw)) for _, raw in encoded(teacher, s[0], z_cond)[1]]


def expected(student, teacher, x, z, cond, z_cond, held=None):
    """Each term of each row; no gradient goes through the units, which are `held`."""
    h, told = encoded(teacher, x, cond)
    units = [np.exp(scale(raw)) for _, raw in told]
    found = {"local": 0, "parameters": 0, "path_x": 0, "path_z": 0}
    for k in range(K):
        shift, raw = said(student, k, h[k + 1], cond)
        block = shift + h[k + 1] * np.exp(scale(raw))
        found["local"] += gap(block, h[k], units[k]) / K
        pair = gap(shift, told[k][0], units[k]) + gap(raw, told[k][1])
        found["parameters"] += pair / 2 / K
    s, _ = decoded(student, h[K], cond)
    found["path_x"] = sum(gap(s[k], h[k], units[k]) for k in range(K)) / K
    log_p = normal(h[K]) - sum(scale(raw).sum(axis=1) for _, raw in told)
    found["forward_kl"] = log_p - student_log_prob(student, x, cond)
    s, log_det = decoded(student, z, z_cond)
    t, told = encoded(teacher, s[0], z_cond)
    units = held or units_of_samples(student, teacher, z, z_cond)
    found["path_z"] = gap(t[K], z) / K
    for k in range(1, K):
        found["path_z"] += gap(t[k], s[k], units[k]) / K
    log_p = normal(t[K]) - sum(scale(raw).sum(axis=1) for _, raw in told)
    found["kl"] = normal(z) - log_det - log_p
    return np.stack([found[term] for term in guided.TERMS])


@functools.cache
def case():
    """(student's variables, teacher's, x, z, cond, z_cond), float64."""
    draw = np.random.default_rng(3)
    x, z = 1.5 * draw.normal(size=(2, ROWS, DIM))
    cond, z_cond = draw.normal(size=(2, ROWS, CONTEXT))
    trees = []
    for flow, noise in ((IAFS, 0.3), (MAFS, 0.4)):
        shapes = jax.eval_shape(flow.init, jax.random.key(0), x, cond)
        trees.append(
            jax.tree.map(lambda a, n=noise: n * draw.normal(size=a.shape), shapes)
        )
    return (*trees, x, z, cond, z_cond)


@jax.jit
def seen(student, teacher, x, z, cond, z_cond):
    """Terms, the loss of each block and share of rejected rows; and all gradients."""

    def values(student, teacher):
        loss, aux = guided.guided(
            *(IAFS, MAFS, student, teacher, x, (z,), cond, z_cond),
            weights=dict.fromkeys(guided.TERMS, 2.0),
            terms=guided.TERMS,
            robust=ROBUST,
            limit=LIMIT,
        )
        terms = [aux.terms[term] for term in guided.TERMS]
        return jnp.stack([*terms, *aux.per_level]), (loss, aux.terms["rejected"])

    found, pull, (loss, rejected) = jax.vjp(values, student, teacher, has_aux=True)
    slopes = jax.vmap(pull)(jnp.eye(len(found)))
    return found, loss, rejected, slopes


@functools.cache
def usual():
    with jax.enable_x64(True):
        return jax.device_get(seen(*case()))


def test_terms_are_those_of_plain_numpy():
    found, loss, rejected, _ = usual()
    wanted = expected(*case()).mean(axis=1)
    count = len(guided.TERMS)
    np.testing.assert_allclose(found[:count], wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loss, 2 * wanted.sum(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found[count:].mean(), wanted[0], rtol=1e-10, atol=1e-10)
    assert rejected == 0
    assert np.all(np.abs(wanted) > 1e-3)


def test_gradients_are_differences_and_leave_the_teacher_alone():
    student, teacher, *rest = case()
    _, _, _, (slopes, of_teacher) = usual()
    draw, step = np.random.default_rng(4), 1e-6
    along = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape), student)
    held = units_of_samples(student, teacher, rest[1], rest[3])

    def moved(by):
        tree = jax.tree.map(lambda leaf, way: leaf + by * way, student, along)
        return expected(tree, teacher, *rest, held).mean(axis=1)

    pairs = zip(jax.tree.leaves(slopes), jax.tree.leaves(along), strict=True)
    by_rule = sum(
        np.sum(slope * way, axis=tuple(range(1, slope.ndim))) for slope, way in pairs
    )
    by_difference = (moved(step) - moved(-step)) / (2 * step)
    floats.assert_close(by_rule[: len(by_difference)], by_difference, rtol=1e-7)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(of_teacher))


def test_a_block_learns_from_its_own_term_alone():
    _, _, _, (slopes, _) = usual()
    for leaf in jax.tree.leaves(networks(slopes)):
        each = np.abs(leaf[len(guided.TERMS) :]).reshape(K, K, -1).max(axis=-1)
        assert np.all((each > 0) == np.eye(K, dtype=bool))


def test_far_rows_leave_no_trace():
    student, teacher, x, z, cond, z_cond = case()
    kept = np.array([True, False, True, True]), np.array([True, True, False, True])
    rows = expected(student, teacher, x, z, cond, z_cond)
    wanted = [
        np.mean(np.where(kept[int(term in guided.OF_LATENTS)], each, 0))
        for term, each in zip(guided.TERMS, rows, strict=True)
    ]
    first = None
    for x_bad, z_bad, cond_bad in (
        (np.inf, np.nan, 0.0),
        (np.nan, np.inf, np.nan),
        (1e3, -1e3, 0.0),
        (1e300, 1e200, 0.0),
    ):
        far_x, far_z, far_cond = x.copy(), z.copy(), cond.copy()
        far_x[1, 2], far_z[2, 0], far_cond[1, 0] = x_bad, z_bad, cond[1, 0] + cond_bad
        with jax.enable_x64(True):
            found = seen(student, teacher, far_x, far_z, far_cond, z_cond)
        found, _, rejected, slopes = jax.device_get(found)
        np.testing.assert_allclose(found[: len(wanted)], wanted, rtol=1e-10, atol=1e-12)
        assert rejected == 2 / 8
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))
        first = slopes if first is None else first
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12),
            slopes,
            first,
        )
    usual_slopes = usual()[3][0]
    largest = max(np.max(np.abs(leaf)) for leaf in jax.tree.leaves(usual_slopes))
    assert largest > 1e-3


def test_foreign_teachers_and_other_students_learn_by_levels_and_ends():
    own, other, x, _, cond, _ = case()

    def encode(variables, x, cond=None):
        found = MAFS.apply(variables, x, cond, method="encode")
        return found._replace(levels=list(found.levels))

    foreign = types.ExternalFlow(encode=encode)
    settings = dict(weights={"local": 1.0}, units="level")
    with jax.enable_x64(True):
        local = functools.partial(guided.guided, IAFS, foreign, cond=cond, **settings)
        _, aux = jax.jit(local)(own, other, x)
        # Errors over the spread of each column, the first block's by hand.
        h = encoded(other, x, cond)[0]
        shift, raw = said(own, 0, h[1], cond)
        error = (shift + h[1] * np.exp(scale(raw)) - x) / x.std(axis=0)
        far = 9 * (0.5 + np.log(np.maximum(abs(error), 3) / 3))
        cost = np.where(abs(error) < 3, error**2 / 2, far).mean()
        np.testing.assert_allclose(aux.per_level[0], cost, rtol=1e-5, atol=1e-6)

        coupling = RealNVP(2, (4,), unroll=1)
        variables = laws.cast(
            laws.Case("r", coupling, (DIM,), context=CONTEXT).variables, np.float64
        )
        settings = dict(cond=cond, units="plain", robust=None)
        flows = coupling, foreign, variables, other
        decode = jax.jit(functools.partial(coupling.apply, method="decode"))
        drawn = decode(variables, (h[-1],), cond)
        ends = np.mean((drawn.x - x) ** 2) / 2
        # The student's first level with the teacher's second; without pairs, the ends.
        paired = dict(pairs=((0, 1),), screen=False)
        loss, aux = jax.jit(lambda: guided.path(*flows, x, **paired, **settings))()
        level = np.mean((drawn.levels[0] - h[2]) ** 2) / 2
        np.testing.assert_allclose(aux.per_level, [ends, level], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(loss, (ends + level) / 2, rtol=1e-9, atol=1e-10)
        plain = functools.partial(guided.path, *flows, **settings)
        _, aux = jax.eval_shape(plain, x)
        assert len(aux.per_level) == 1
        assert {*aux.terms} == {"path_x", "rejected"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(x=None), r"terms \['local'\] need x, which is not given"),
        (dict(weights={"kl": 1.0}), r"terms \['kl'\] need z, which is not given"),
        (dict(cond=None), "MAF without a condition, but it was made with one"),
        (dict(student=0), "IAF with a condition of shape .4, 2., but it was made with"),
        (dict(teacher=0), "gives 1 levels; give the student as many, or train it"),
        (dict(teacher=1), "encode gives no levels, the activations after its blocks"),
        (dict(student=1), "map by Affine.bound=5.0., the teacher's by RationalQ"),
    ],
)
def test_wrong_uses_are_named(given, message):
    own, other, x, _, cond, _ = case()
    own, other, x, cond = laws.cast((own, other, x, cond), np.float32)
    student, teacher, weights, units = IAFS, MAFS, {"local": 1.0}, "teacher"
    if given.get("student") == 0:
        made = networks(own)
        bare = {name: leaf for name, leaf in made.items() if name != "context_kernel"}
        own = {"params": {"stack": {"step": {"parts_0": {"bijector": {"made": bare}}}}}}
    if given.get("student") == 1:
        spline = MAF(K, **SHAPE, transformer="spline")
        teacher, weights = spline, {"parameters": 1.0}
        shapes = jax.eval_shape(spline.init, jax.random.key(0), x, cond)
        other = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    if "teacher" in given:
        count, units = 1 - given["teacher"], "level"

        def encode(variables, x, cond=None):
            found = MAFS.apply(variables, x, cond, method="encode")
            return found._replace(levels=found.levels[:count])

        teacher = types.ExternalFlow(encode=encode)
    x, cond = given.get("x", x), given.get("cond", cond)
    weights = given.get("weights", weights)
    with pytest.raises(ValueError, match=message):
        guided.guided(
            *(student, teacher, own, other, x), cond=cond, weights=weights, units=units
        )


def test_weights_may_be_traced():
    own, other, x, z, cond, z_cond = laws.cast(case(), np.float32)
    given = IAFS, MAFS, own, other, x, (z,), cond, z_cond

    @jax.jit
    def loss(weights):
        terms = ("local", "path_z")
        return guided.guided(*given, weights=weights, terms=terms)

    weights = np.zeros((2, len(guided.TERMS)), np.float32)
    weights[:, 0], weights[:, 2] = (1, 2), (3, 0)
    found, aux = jax.vmap(loss)(weights)
    wanted = weights[:, 0] * aux.terms["local"] + weights[:, 2] * aux.terms["path_z"]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    assert set(aux.terms) == {"local", "path_z", "rejected"}
    assert aux.student[1] is None


def _gaussian(variables, x, cond=None):
    """The encoding of rows of N(mean, 1)."""
    z = x - variables
    return types.Encoding((z,), jnp.zeros(len(x)), (), density.standard_normal((z,)))


def test_forward_kl_looks_at_a_share_of_the_rows_and_far_ones_count_logarithmically():
    flow = types.ExternalFlow(encode=_gaussian)
    x = jnp.asarray([[0.0], [30.0], [1.0], [-1000.0]])  # Beyond to both sides.
    # log N(x; 0, 1) - log N(x; 1, 1) = 1/2 - x.
    ratio = 0.5 - np.asarray(x[:, 0])
    given = (flow, flow, jnp.ones(1), jnp.zeros(1), x)
    settings = {"weights": {"forward_kl": 1.0}, "units": "plain"}
    for share, rows in ((1.0, 4), (0.5, 2), (0.3, 2)):
        loss, _ = guided.guided(*given, forward_share=share, **settings)
        np.testing.assert_allclose(loss, ratio[:rows].mean(), rtol=1e-4, atol=1e-4)
    far = np.sign(ratio) * 10 * (1 + np.log(np.maximum(abs(ratio), 10) / 10))
    capped = np.where(abs(ratio) > 10, far, ratio)
    loss, _ = guided.guided(*given, cap=10.0, **settings)
    np.testing.assert_allclose(loss, capped.mean(), rtol=1e-4, atol=1e-4)
    assert loss < ratio.mean() / 10


def _exploding(variables, x, cond=None):
    """`_gaussian`, but for an x beyond 3 an encoding that overflows."""
    found = _gaussian(variables, x, cond)
    z = jnp.where(x > 3, jnp.exp(jnp.where(x > 3, x, 0) * variables * 1e3), found.z[0])
    return found._replace(z=(z,), log_prior=density.standard_normal((z,)))


def test_rows_whose_encoding_explodes_do_not_reach_the_gradient():
    flows = types.ExternalFlow(encode=_exploding), types.ExternalFlow(encode=_gaussian)
    x = jnp.asarray([[0.0], [30.0], [1.0]])
    settings = {"weights": {"forward_kl": 1.0}, "units": "plain"}

    def loss(mean, **more):
        return guided.guided(*flows, mean, jnp.zeros(1), x, **settings, **more)

    def slope(**more):
        return jax.grad(lambda mean: loss(mean, **more)[0])(jnp.ones(1))

    _, aux = loss(jnp.ones(1))
    np.testing.assert_allclose(aux.terms["rejected"], 1 / 3, rtol=1e-6, atol=1e-6)
    # d/d mean of (x - mean)^2 / 2 at 1, over three rows of which one is left out.
    np.testing.assert_allclose(slope(), [1 / 3], rtol=1e-6, atol=1e-6)
    assert np.isnan(slope(screen=False)).all()
