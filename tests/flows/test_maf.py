"""MAF and IAF: order of the levels, initialisation, cost of each direction."""

import json

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from fdnf.bijectors import transformers
from fdnf.flows import build
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.nice import NICE
from fdnf.flows.realnvp import RealNVP
from fdnf.losses import distillation
from tests import floats, laws

DIM = 5


def batch(seed=0, rows=256):
    draw = np.random.default_rng(seed)
    mix = draw.normal(size=(DIM, DIM))
    data = draw.normal(size=(rows, DIM)) @ mix * 3.0 + 7.0
    return jnp.asarray(data, jnp.float32)


def near_identity(flow, x):
    """Variables at which every block is the identity."""
    shapes = jax.eval_shape(flow.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def compiled(flow, method):
    """`flow.apply` of one method, as one program."""
    return jax.jit(lambda variables, x: flow.apply(variables, x, method=method))


@pytest.mark.parametrize(("steps", "unroll"), [(2, None), (4, 1)])
def test_every_block_starts_normalised(steps, unroll):
    flow = MAF(steps=steps, hidden=(8,), unroll=unroll)
    # `init` encodes.
    encoding, _ = jax.jit(flow.init_with_output)(jax.random.key(0), batch())
    assert len(encoding.levels) == steps
    for level in encoding.levels:
        np.testing.assert_allclose(np.mean(level, axis=0), np.zeros(DIM), atol=2e-4)
        np.testing.assert_allclose(np.std(level, axis=0), np.ones(DIM), atol=2e-4)


def test_first_rows_do_not_depend_on_the_batch_that_follows_init():
    flow = MAF(unroll=1, steps=2, hidden=(8,))
    x = batch()
    variables = jax.jit(flow.init)(jax.random.key(0), x)
    encode = compiled(flow, "encode")
    whole = encode(variables, 5.0 * x).z[0]
    alone = encode(variables, 5.0 * x[:2]).z[0]
    np.testing.assert_allclose(whole[:2], alone, rtol=1e-5, atol=1e-5)
    assert np.max(np.std(whole, axis=0)) > 2.0


@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.slow), 2, 3])
@pytest.mark.parametrize("flow", [MAF, IAF])
def test_levels_and_latents_are_in_the_order_of_the_data(flow, steps):
    flow = flow(steps=steps, hidden=(8,), unroll=1)
    x = batch(rows=4)
    variables = near_identity(flow, x)
    encoding = compiled(flow, "encode")(variables, x)
    for level in (*encoding.levels, encoding.z[0]):
        np.testing.assert_allclose(level, x, atol=1e-5)
    decoding = compiled(flow, "decode")(variables, encoding.z)
    for level in (*decoding.levels, decoding.x):
        np.testing.assert_allclose(level, x, atol=1e-5)


def test_last_level_is_the_latent():
    for steps in (2, 3):
        flow = MAF(unroll=1, steps=steps, hidden=(8,))
        case = laws.Case("maf", flow, (DIM,), start=False)
        encoding = case.apply(case.data(), method="encode")
        np.testing.assert_array_equal(encoding.levels[-1], encoding.z[0])


def test_student_and_teacher_of_unequal_parity_are_compared_in_order():
    teacher, student = (
        MAF(unroll=1, steps=4, hidden=(8,)),
        MAF(unroll=1, steps=3, hidden=(8,)),
    )
    x = batch(rows=4)
    loss, _ = distillation.ilkd(
        student,
        teacher,
        near_identity(student, x),
        near_identity(teacher, x),
        x,
        pairs="ratio",
    )
    assert loss == pytest.approx(0.0, abs=1e-5)


def primitives(function, *args):
    """Names of all primitives that a function is made of, at any depth."""

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            yield equation.primitive.name
            for inner in jax.tree.leaves(
                tuple(equation.params.values()),
                is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr"),
            ):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from walk(inner)

    return list(walk(jax.make_jaxpr(function)(*args).jaxpr))


def test_iaf_samples_and_maf_encodes_in_one_pass():
    x = batch(rows=4)
    for flow, cheap, costly in (
        (IAF(unroll=1, steps=2, hidden=(8,)), "decode", "encode"),
        (MAF(unroll=1, steps=2, hidden=(8,)), "encode", "decode"),
    ):
        variables = near_identity(flow, x)

        def run(method, flow=flow, variables=variables):
            value = (x,) if method == "decode" else x
            return primitives(lambda v: flow.apply(variables, v, method=method), value)

        # The one loop is the stack itself; inside it are dense layers.
        assert run(cheap).count("while") == 0
        assert run(cheap).count("scan") == 1
        assert run(cheap).count("dot_general") == 2
        loops = run(costly).count("while") + run(costly).count("scan")
        assert loops > 1


def test_iaf_decodes_by_maf_blocks():
    # With the same parameters, one block of IAF decodes what one of MAF encodes.
    maf, iaf = MAF(unroll=1, steps=1, hidden=(8,)), IAF(unroll=1, steps=1, hidden=(8,))
    case = laws.Case("maf", maf, (DIM,), start=False)
    block = case.variables["params"]["stack"]["step"]["parts_0"]
    inverted = {"params": {"stack": {"step": {"parts_0": {"bijector": block}}}}}
    x = case.data()
    encoding = case.apply(x, method="encode")
    decoding = compiled(iaf, "decode")(inverted, (x,))
    np.testing.assert_allclose(decoding.x, encoding.z[0], rtol=1e-5, atol=1e-5)
    floats.assert_close(decoding.log_det, encoding.log_det, rtol=1e-5)


AFFINE_SPLINE = {
    "name": "compose",
    "parts": ("affine", {"name": "spline", "bins": 3, "box": 2.0}),
}
SPLINES = {
    "maf": dict(transformer=AFFINE_SPLINE, conditioner="residual", rank=2),
    "iaf": dict(transformer={"name": "spline", "bins": 4}, marginal="spline"),
}
KINDS = {"maf": MAF, "iaf": IAF}


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("maf", 1),
        *(pytest.param(*p, marks=pytest.mark.slow) for p in (("maf", 7), ("iaf", 2))),
    ],
)
def test_splines_of_few_columns_and_one_row(name, dim):
    with jax.enable_x64(True):
        flow = KINDS[name](2, (6,), "tanh", unroll=1, **SPLINES[name])
        case = laws.Case(name, flow, (dim,), start=False)
        variables = laws.cast(case.variables, np.float64)
        x = laws.cast(case.data(batch=1), np.float64)

        @jax.jit
        def trip(variables, x):
            encoding = flow.apply(variables, x)
            decoding = flow.apply(variables, encoding.z, method="decode")
            return encoding, decoding

        encoding, decoding = trip(variables, x)
        floats.assert_close(decoding.x, x, rtol=1e-9)
        floats.assert_close(decoding.log_det, -encoding.log_det, rtol=1e-9)
        # Far outside of the box all but a column's shift and scale is the identity.
        far, back = trip(variables, 1e6 * x)
        floats.assert_close(back.x, 1e6 * x, rtol=1e-9)
        assert np.isfinite(far.log_det).all()


def test_splines_start_normalised():
    flow = MAF(2, (8,), unroll=1, transformer=AFFINE_SPLINE)
    x = batch()
    encoding, _ = jax.jit(flow.init_with_output)(jax.random.key(0), x)
    for level in encoding.levels:
        np.testing.assert_allclose(np.mean(level, axis=0), np.zeros(DIM), atol=0.1)
        np.testing.assert_allclose(np.std(level, axis=0), np.ones(DIM), atol=0.1)


@pytest.mark.parametrize(
    ("flow", "steps", "mixing"), [(MAF, 3, "lu"), (IAF, 2, "reverse")]
)
def test_a_block_maps_by_the_parameters_that_it_tells(flow, steps, mixing):
    flow = flow(steps, (8,), unroll=1, transformer=AFFINE_SPLINE, mixing=mixing)
    case = laws.Case("flow", flow, (DIM,), context=2, start=False)
    x, cond = case.data(batch=4), case.cond(batch=4)

    @jax.jit
    def told(variables, x, cond):
        return flow.apply(variables, x, cond), flow.apply(
            variables, x, cond, method="block_parameters"
        )

    encoding, raw = told(case.variables, x, cond)
    transformer = transformers.make(AFFINE_SPLINE)
    assert [one.shape for one in raw] == [(4, transformer.outputs, DIM)] * steps
    # The linear maps, by hand; all is in the order of the data.
    log_det = np.zeros(4)
    for k, parameters in enumerate(raw):
        before = x if k == 0 else encoding.levels[k - 1]
        if mixing == "lu":
            packed = case.variables["params"]["stack"]["step"]["parts_0"]["lu_kernel"]
            scales = 5 * np.tanh(np.diagonal(packed[k]) / 5)
            lower = np.tril(packed[k], -1) + np.eye(DIM)
            weight = lower @ (np.triu(packed[k], 1) + np.diag(np.exp(scales)))
            before = np.asarray(before, np.float64)
            before = (
                (before[:, ::-1] @ weight.T)[:, ::-1] if k % 2 else before @ weight.T
            )
            before = jnp.asarray(before, jnp.float32)
            log_det += scales.sum()
        raws = parameters.transpose(1, 0, 2)
        if flow.__class__ is IAF:
            after, log_slope = transformer.inverse(raws, before)
        else:
            after, log_slope = transformer.forward(raws, before)
        np.testing.assert_allclose(after, encoding.levels[k], rtol=1e-4, atol=1e-4)
        log_det += np.sum(log_slope, axis=1)
    np.testing.assert_allclose(log_det, encoding.log_det, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(transformer="splines"), "transformer is 'splines': expected one of"),
        (dict(transformer={"name": "spline", "knots": 3}), "'spline' has no 'knots'"),
        (dict(transformer={"name": "compose", "parts": ()}), "expected several"),
        (dict(marginal="spike"), "transformer is 'spike': expected one of"),
        (dict(mixing="shuffle"), "mixing is 'shuffle', expected one of"),
        (dict(conditioner="deep"), "conditioner is 'deep', expected one of"),
        (
            dict(conditioner="residual", hidden=(8, 9)),
            r"hidden is \(8, 9\), expected eq",
        ),
        (dict(rank=0), "rank is 0, expected at least 1"),
    ],
)
def test_wrong_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(MAF(**change).init, jax.random.key(0), jnp.zeros((2, 3)))


def test_behind_a_linear_map_too_it_knows_what_it_was_made_with():
    flow = IAF(2, (8,), unroll=1, mixing="lu", transformer="spline")
    x, cond = jnp.zeros((2, DIM)), jnp.zeros((2, 3))
    shapes = jax.eval_shape(flow.init, jax.random.key(0), x, cond)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    with pytest.raises(ValueError, match=r"IAF on data of shape \(2, 4\): expected"):
        flow.apply(variables, x[:, :4], cond)
    for given in (None, cond[:, :2]):
        with pytest.raises(ValueError, match="IAF with"):
            flow.apply(variables, x, given, method="block_parameters")


def test_what_is_written_in_a_config_makes_a_flow():
    config = ml_collections.ConfigDict(
        {"name": "maf", "args": {"steps": 2, "transformer": AFFINE_SPLINE}}
    )
    built = build.build(config)
    stored = build.build(ml_collections.ConfigDict(json.loads(config.to_json())))
    assert built == stored == MAF(steps=2, transformer=AFFINE_SPLINE)
    assert hash(built) == hash(stored)


# In CI gradients of splines are those of `tests/ops/test_autoregressive_inverse.py`, of
# losses those of `tests/losses`.
@pytest.mark.slow
def test_splines_teach_and_learn():
    teacher = laws.Case("t", MAF(1, (6,), unroll=1, transformer=AFFINE_SPLINE), (3,))
    student = laws.Case("s", IAF(1, (6,), unroll=1, transformer="spline"), (3,))
    x = teacher.data(batch=4)

    @jax.jit
    def slopes(params, taught, x):
        def loss(params):
            learnt, both = {"params": params}, (student.module, teacher.module)
            return distillation.ilkd(*both, learnt, taught, x)[0]

        return jax.value_and_grad(loss)(params)

    loss, gradient = slopes(student.variables["params"], teacher.variables, x)
    assert loss > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


def test_a_student_has_its_teachers_blocks():
    teacher = MAF(3, (8, 8), bound=2.0, mixing="lu", marginal="spline", embedding=(4,))
    student = IAF.of(teacher, hidden=[16])
    inverse = transformers.Inverse(transformers.Affine(2.0))
    assert student == IAF(
        3,
        (16,),
        bound=2.0,
        transformer=inverse,
        mixing="lu",
        marginal="spline",
        embedding=(4,),
    )
    assert IAF.of(teacher, activation="tanh").hidden == (8, 8)
    assert IAF.of(teacher, transformer="affine").transformer == "affine"
    assert student.block_kind() == teacher.block_kind()
    # Seen from the data, a plain student's block is the inverse of its map.
    assert IAF(3, bound=2.0).block_kind().transformer == inverse
    spelled = {"name": "inverse", "of": "affine"}
    for name in ("inverse", {"name": "inverse"}, spelled):
        assert IAF(bound=2.0, transformer=name).transformer == inverse
    named = {"name": "inverse", "of": AFFINE_SPLINE}
    inverted = transformers.Inverse(transformers.make(AFFINE_SPLINE))
    assert IAF.of(MAF(2, transformer=AFFINE_SPLINE)) == IAF(2, transformer=inverted)
    assert IAF(transformer=named).transformer == inverted


def test_a_student_takes_over_what_it_shares():
    teacher = MAF(2, (4,), unroll=1, mixing="lu", marginal="spline", embedding=(4,))
    student, x, cond = IAF.of(teacher), jnp.zeros((2, DIM)), jnp.zeros((2, 3))
    other, own = (
        jax.tree.map(
            lambda leaf, n=n: np.full(leaf.shape, n),
            jax.eval_shape(flow.init, jax.random.key(0), x, cond),
        )
        for n, flow in enumerate((teacher, student))
    )
    found = student.taken_over(own, other)["params"]
    step = found["stack"]["step"]
    assert set(step) == {"parts_0", "parts_1", "parts_2"}
    taken = {"embedder": found["embedder"], "lu": step["parts_0"], "m": step["parts_2"]}
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(taken))
    assert all(np.all(leaf == 1) for leaf in jax.tree.leaves(step["parts_1"]))
    assert all(np.all(leaf == 1) for leaf in jax.tree.leaves(own))
    del other["params"]["embedder"]
    with pytest.raises(ValueError, match="make the student with IAF.of"):
        student.taken_over(own, other)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: IAF.of(MAF(3), steps=2), r"steps=2\): the teacher has 3, and a stu"),
        (lambda: IAF.of(MAF(3), mixing="lu"), "the teacher has 'reverse', and a"),
        (lambda: IAF.of(IAF(3)), r"IAF.of\(IAF\): expected a MAF, whose blocks"),
        (lambda: IAF(transformer={"name": "inverse", "of": "knot"}), "'knot': expect"),
    ],
)
def test_students_of_other_blocks_are_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made()


def test_blocks_are_asked_with_one_activation_each():
    flow, x = MAF(2, (4,), unroll=1), jnp.zeros((3, DIM))
    variables = near_identity(flow, x)
    for method in ("encode_blocks", "decode_blocks"):
        found = flow.apply(variables, jnp.stack([x, x]), method=method)
        assert found.parameters.shape == (2, 3, 2, DIM)
        assert found.log_det.shape == (2, 3)
        for given in (jnp.stack([x] * 3), x):
            with pytest.raises(ValueError, match=r"2 blocks on activations of shape"):
                flow.apply(variables, given, method=method)
        with pytest.raises(ValueError, match="MAF with a condition of shape"):
            flow.apply(variables, jnp.stack([x, x]), x, method=method)
        with pytest.raises(ValueError, match="MAF on data of shape"):
            flow.apply(variables, jnp.stack([x, x])[..., 1:], method=method)
    nice = NICE(3, (4,))
    variables = near_identity(nice, x)
    for method in ("encode_blocks", "decode_blocks", "encode_with_blocks"):
        with pytest.raises(ValueError, match="NICE is no stack of equal blocks"):
            nice.apply(variables, x[None], method=method)


@pytest.mark.parametrize(
    "mixing", ["none", pytest.param("reverse", marks=pytest.mark.slow), "lu"]
)
def test_couplings_are_asked_block_by_block_too(mixing):
    partition = "alternating" if mixing == "none" else "half"
    flow = RealNVP(3, (4,), unroll=1, mixing=mixing, partition=partition)
    case = laws.Case("r", flow, (3,), noise=0.3, start=False)
    x = case.data()

    @jax.jit
    def asked(variables, x):
        encoding, blocks = flow.apply(variables, x, method="encode_with_blocks")
        sides = jnp.stack([x, *encoding.levels])
        there = flow.apply(variables, sides[:-1], method="encode_blocks")
        back = flow.apply(variables, sides[1:], method="decode_blocks")
        whole = flow.apply(variables, x, method="encode")
        return encoding, whole, sides, blocks, there, back

    encoding, whole, sides, blocks, there, back = asked(case.variables, x)
    laws.assert_close(whole, encoding, 1e-6, "encode")
    laws.assert_close(blocks, there, 1e-6, "each alone")
    laws.assert_close(sides[:-1], back.out, 1e-4, "and back")
    laws.assert_close(there.log_det, -back.log_det, 1e-4, "log_det")
    laws.assert_close(there.log_scale, back.log_scale, 1e-4, "log_scale")
    floats.assert_close(there.log_det.sum(axis=0), encoding.log_det, rtol=1e-5)
    if mixing == "none":
        # Of elementwise maps, the slopes make the determinant.
        total = -there.log_scale.sum(axis=-1)
        floats.assert_close(total, there.log_det, rtol=1e-5)
