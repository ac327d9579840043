"""Samples of a teacher iterated from a student's: exact whatever the start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import flows
from fdnf.flows import refined
from fdnf.types import Decoding, Encoding, ExternalFlow
from tests import floats, laws

ROWS = 6
# The simplest inverses, as the references.
PASSES = {"inverse": "passes"}
CASES = {
    "maf": laws.Case(
        "maf",
        flows.MAF(2, (8,), mixing="lu", unroll=1, **PASSES),
        (5,),
        context=2,
        start=False,
    ),
    "pixels": laws.Case(
        "pixels",
        flows.PixelCNN(1, 2, 1, 1, inverse="naive"),
        (3, 3, 2),
        start=False,
        noise=0.6,
    ),
    "tokens": laws.Case(
        "tokens",
        flows.TarFlow(2, 1, 4, 2, 2, inverse="naive", segment=3, unroll=1),
        (4, 4, 1),
        start=False,
        noise=1.0,
    ),
}
# Its variables are its samples.
STUDENT = ExternalFlow(decode=lambda x, z, cond=None: Decoding(x, None, ()))


@functools.partial(jax.jit, static_argnums=0)
def samples(name, variables, cond):
    """The teacher's samples and their density, and those from a student's by one key.

    The student's first three are near no sample: one overflows, one is not finite. The
    others are the teacher's own.
    """
    teacher, key, event = CASES[name].module, jax.random.key(4), CASES[name].event
    x = teacher.apply(variables, key, (ROWS, *event), 1.0, cond, method="sample")
    start = x.at[0].set(20.0).at[1].set(1e30).at[2].set(jnp.nan)
    found = refined.refined_sample(
        *(STUDENT, teacher, start, variables, key, ROWS, cond),
        event=event,
        tolerance=1e-11,
    )
    return x, teacher.apply(variables, x, cond, method="log_prob"), found


# Tokens settle as pixels do.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n == "tokens")) for n in CASES],
)
@pytest.mark.usefixtures("x64")
def test_any_start_ends_at_the_exact_sample(name):
    case = CASES[name]
    given = laws.cast((case.variables, case.cond(batch=ROWS)), np.float64)
    x, log_prob, found = samples(name, *given)
    layers, size = len(found.iterations), np.prod(x.shape[1:3])
    assert layers == {"maf": 2, "pixels": 1, "tokens": 2}[name]
    assert found.x.dtype == np.float64
    assert found.iterations.shape == found.residual.shape == (layers, ROWS)
    np.testing.assert_allclose(found.x, x, atol=1e-9)
    np.testing.assert_allclose(found.log_prob, log_prob, atol=1e-8)
    assert found.residual.max() < 1e-10
    # Starts without use take as long as any, and are no reason to decode.
    assert not found.direct.any()
    assert (found.iterations[:, :3].max(0) > 2).all()
    assert found.iterations.max() <= size
    # There is nothing to do from the solution.
    np.testing.assert_array_equal(found.iterations[:, 3:], 0)
    np.testing.assert_allclose(found.moved[3:], 0, atol=1e-12)
    assert np.isfinite(found.moved).tolist() == [True, True, False] + 3 * [True]


@functools.cache
def small():
    """A MAF of one block, its variables, and both ways to decode in one program."""
    teacher, z = flows.MAF(1, (4,), **PASSES), CASES["maf"].data(batch=4)
    variables = laws.drawn(teacher, z, noise=0.7)

    @jax.jit
    def run(variables, z, start):
        found = [
            refined.refine(teacher, variables, (z,), start, tolerance=tolerance)
            for tolerance in (None, 0.5)
        ]
        return teacher.apply(variables, (z,), method="decode"), *found

    return run, variables, z


def test_tolerance_and_rows_that_do_not_settle_in_float32():
    run, variables, z = small()
    whole, usual, loose = run(variables, z, z)
    np.testing.assert_allclose(usual.x, whole.x, atol=1e-4)
    assert usual.residual.max() <= 1e-5
    assert usual.iterations.min() > loose.iterations.min()
    assert 1e-3 < loose.residual.max() <= 0.5
    assert np.abs(loose.x - whole.x).max() > 1e-3
    assert not loose.direct.any()
    # A sample that is not finite has no residual: it is decoded, and no other.
    _, found, _ = run(variables, z.at[1].set(jnp.inf), z)
    assert found.direct.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(found.x[::2], usual.x[::2])


def test_gradients_do_not_depend_on_the_start():
    run, variables, z = small()

    @functools.partial(jax.jit, static_argnums=3)
    @functools.partial(jax.grad, argnums=(0, 1))
    def slope(variables, z, start, refine):
        whole, found, _ = run(variables, z, start)
        prior = -0.5 * jnp.sum(z**2)
        value = jnp.sum(found.log_prob) if refine else prior - jnp.sum(whole.log_det)
        return value + jnp.sum(jnp.sin(found.x if refine else whole.x))

    found, expected = (slope(variables, z, 0 * z, refine) for refine in (True, False))
    close = functools.partial(floats.assert_close, rtol=1e-4)
    jax.tree.map(close, found, expected)


@pytest.mark.parametrize(
    ("teacher", "given", "message"),
    [
        (flows.IAF(1, (4,)), {}, "IAF is not inverted by iteration.*decode"),
        (flows.RealNVP(2, (4,)), {}, "RealNVP is not inverted by iteration"),
        (flows.MAF(1, (4,)), {"tolerance": -1.0}, "tolerance is -1.0"),
        (flows.MAF(1, (4,)), {"start": (2, 5)}, "start has 2 rows.* 3"),
        (flows.MAF(1, (4,)), {"start": (3, 4)}, r"data.*\(3, 4\)"),
    ],
    ids=str,
)
def test_wrong_uses(teacher, given, message):
    x = jnp.zeros((3, 5))
    variables = jax.eval_shape(teacher.init, jax.random.key(0), x)
    settings = dict(given)
    start = jnp.zeros(settings.pop("start", (3, 5)))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda v: refined.refine(teacher, v, (x,), start, **settings), variables
        )


def stretched(factors, decodes=True):
    """x = f z of each column, in two parts of latents: the first column, the others."""
    f = np.array(factors)

    def decode(v, z, cond=None):
        whole = jnp.concatenate(z, axis=1)
        log_det = jnp.full(len(whole), np.log(np.abs(f)).sum())
        return Decoding(f * whole + (0.0 if cond is None else cond), log_det, ())

    def encode(v, x, cond=None):
        z = (x - (0.0 if cond is None else cond)) / f
        prior = -0.5 * jnp.sum(z**2 + np.log(2 * np.pi), axis=1)
        log_det = jnp.full(len(x), -np.log(np.abs(f)).sum())
        return Encoding((z[:, :1], z[:, 1:]), log_det, (), prior)

    return ExternalFlow(encode=encode, decode=decode if decodes else None)


LATENTS = np.random.default_rng(0).normal(size=(50, 3))
SHIFTS = np.random.default_rng(1).normal(size=(50, 1))


def through(student, teacher=(1.0, 2.0, 3.0), decodes=True, **options):
    z, beside = (LATENTS[:, :1], LATENTS[:, 1:]), options.pop("cond", SHIFTS)
    flows_of = stretched(student), stretched(teacher, decodes)
    return refined.decode_through(*flows_of, 0.0, 0.0, z, beside, **options)


@pytest.mark.usefixtures("x64")
def test_a_round_leaves_the_share_by_which_the_student_is_wrong():
    """Of x = f z and a teacher's g z the share is |1 - f / g|."""
    found = through((1.3, 1.6, 2.7), tolerance=1e-6, batch=7)
    share = np.array([0.3, 0.2, 0.1])  # Of a defect, whose sign lasts or changes.
    counts = np.arange(1, 17)[:, None, None]
    left = (share**counts * np.abs(LATENTS)).max(axis=2)
    np.testing.assert_array_equal(found.rounds, 1 + (left > 1e-6).sum(axis=0))
    ends = left[found.rounds - 1, np.arange(50)]
    np.testing.assert_allclose(found.residual, ends, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.x, LATENTS * (1, 2, 3) + SHIFTS, atol=3e-6)
    normal = -0.5 * (LATENTS**2 + np.log(2 * np.pi)).sum(axis=1)
    np.testing.assert_allclose(found.log_prob, normal - np.log(6), atol=1e-5)
    assert not found.direct.any()
    # Of the student's own samples, the first round's.
    there = LATENTS * (1.3, 1.6, 2.7) / (1, 2, 3)
    weights = 0.5 * (LATENTS**2 - there**2).sum(axis=1)
    weights += np.log(1.3 * 1.6 * 2.7 / 6)
    np.testing.assert_allclose(found.log_weight, weights, atol=1e-12)
    # One condition for all, and double precision where programs have single.
    with jax.enable_x64(False):
        single = through((1.3, 1.6, 2.7), cond=SHIFTS[:1])
    assert single.x.dtype == np.float32
    assert not single.direct.any()
    np.testing.assert_allclose(single.x, LATENTS * (1, 2, 3) + SHIFTS[0], atol=2e-3)
    # How many rows share a batch is nobody's matter.
    whole = through((1.3, 1.6, 2.7), tolerance=1e-6)
    for one, two in zip(found, whole, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_slopes_that_are_far_off_find_their_pace():
    """By themselves rounds would leave 1.2, 0.6 and 0.8 times each defect."""
    found = through((2.2, 0.8, 0.6), tolerance=1e-5)
    assert not found.direct.any()
    np.testing.assert_allclose(found.x, LATENTS * (1, 2, 3) + SHIFTS, atol=3e-5)
    # 0.8^k = 1e-5 takes 52.
    assert found.rounds.max() <= 14


@pytest.mark.usefixtures("x64")
def test_rows_that_do_not_settle_are_decoded():
    """A student that mirrors a column."""
    found = through((1.0, 2.0, -3.0), tolerance=1e-3, batch=20)
    assert found.direct.all()
    np.testing.assert_allclose(found.x, LATENTS * (1, 2, 3) + SHIFTS, atol=1e-12)
    normal = -0.5 * (LATENTS**2 + np.log(2 * np.pi)).sum(axis=1)
    np.testing.assert_allclose(found.log_prob, normal - np.log(6), atol=1e-12)
    # What is not finite ends at once.
    broken = through((1.0, np.nan, 3.0))
    assert broken.direct.all()
    np.testing.assert_array_equal(broken.rounds, 1)
    np.testing.assert_allclose(broken.x, LATENTS * (1, 2, 3) + SHIFTS, atol=1e-12)
    with pytest.raises(ValueError, match="this ExternalFlow has no 'decode'"):
        through((1.0, 2.0, -3.0), decodes=False)
    assert not through((1.0, 2.0, 3.1), decodes=False).direct.any()


@pytest.mark.usefixtures("x64")
def test_a_flow_is_decoded_through_one_like_it():
    case = CASES["maf"]
    variables, z, cond = laws.cast(
        (case.variables, case.data(batch=5), case.cond(batch=5)), np.float64
    )
    near = laws.cast(laws.perturb(variables, 0.002), np.float64)
    flows_of = (case.module, case.module, near, variables)
    found = refined.decode_through(*flows_of, (z,), cond, batch=3)
    decode = jax.jit(lambda z: case.module.apply(variables, z, cond, method="decode"))
    exact = decode((z,))
    assert not found.direct.any()
    assert 2 <= found.rounds.min() <= found.rounds.max() < refined.ROUNDS
    assert found.residual.max() < 2e-8
    np.testing.assert_allclose(found.x, exact.x, atol=1e-6)
    log_prob = jax.jit(
        lambda x: case.module.apply(variables, x, cond, method="log_prob")
    )
    np.testing.assert_allclose(found.log_prob, log_prob(found.x), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rounds": 0}, "rounds=0.*at least one"),
        ({"batch": 0}, "batch=0"),
        ({"tolerance": 0.0}, "a tolerance above 0"),
    ],
)
def test_what_cannot_be_decoded_through(change, text):
    with pytest.raises(ValueError, match=text):
        through((1.0, 2.0, 3.0), **change)


def test_latents_of_another_shape():
    z = (LATENTS,)
    student = ExternalFlow(decode=lambda v, z, cond=None: Decoding(z[0], None, ()))
    with pytest.raises(ValueError, match=r"shapes \[\(50, 1\), \(50, 2\)\]"):
        refined.decode_through(student, stretched((1.0, 2.0, 3.0)), 0.0, 0.0, z)
