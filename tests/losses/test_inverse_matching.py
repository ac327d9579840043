"""Inverse matching: zero where the student undoes the teacher, and who moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import types
from fdnf.bijectors.autoregressive import MADE, MaskedAutoregressive
from fdnf.bijectors.combinators import Chain, Invert, Repeat, Reverse
from fdnf.flows.base import FlowModule
from fdnf.flows.maf import IAF, MAF
from fdnf.losses import inverse_matching
from tests import floats, laws
from tests.losses import affine


class Inverted(FlowModule):
    """A student whose sampling direction is `Invert` of the teacher's bijector."""

    inverted: Invert

    def _decode(self, z, cond):
        # A MAF of an odd number of steps reports its latents turned round.
        x, log_det = self.inverted.forward(jnp.flip(z[0], -1), cond)
        return x, log_det, ()

    def _encode(self, x, cond):
        z, log_det = self.inverted.inverse(x, cond)
        return (jnp.flip(z, -1),), log_det, ()


S = affine.variables([0.5, -1.0], [2.0, 0.5])
T = affine.variables([-0.25, 0.5], [1.5, 1.25])
FLOW = affine.flow()
SAMPLER = types.ExternalFlow(decode=FLOW.decode)
JUDGE = types.ExternalFlow(encode=FLOW.encode)
GRID = affine.normal_grid()

STUDENT = laws.Case("student", IAF(unroll=1, steps=3, hidden=(8,)), noise=0.3)
TEACHER = laws.Case("teacher", MAF(unroll=1, steps=3, hidden=(8,)), noise=0.3)
INVERSE = Inverted(
    Invert(Repeat(Chain((MaskedAutoregressive(MADE((8,))), Reverse())), 3, unroll=1))
)
X = TEACHER.data(batch=16)
Z = (jax.random.normal(jax.random.key(0), (16, 4)),)
LOSSES = {
    "z": (inverse_matching.z_reconstruction, Z),
    "x": (inverse_matching.x_reconstruction, X),
    "oracle": (inverse_matching.oracle, Z),
}
over_losses = pytest.mark.parametrize("name", LOSSES)
over_distances = pytest.mark.parametrize("distance", inverse_matching.DISTANCES)
reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


def expected(slope, offset, distance, reduction):
    """E d(slope u + offset, 0), u standard normal, over the event."""
    if distance == "mixed":
        parts = [expected(slope, offset, d, reduction) for d in ("l1", "l2")]
        return sum(parts) / 2
    each = affine.mean_distance(distance, slope, offset)
    return np.sum(each) if reduction == "sum" else np.mean(each)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@over_distances
@reductions
def test_z_reconstruction_of_gaussians(distance, reduction):
    # The only direction that each has is the only one it is asked for.
    loss, aux = inverse_matching.z_reconstruction(
        SAMPLER, JUDGE, S, T, (GRID,), distance=distance, reduction=reduction
    )
    slope = np.asarray(S["std"] / T["std"]) - 1
    offset = np.asarray((S["mean"] - T["mean"]) / T["std"])
    value = expected(slope, offset, distance, reduction)
    assert loss == pytest.approx(value, rel=2e-3)
    assert aux.terms["z"] == loss
    assert aux.per_level[0] == pytest.approx(float(loss))


@over_distances
@reductions
def test_x_reconstruction_of_gaussians(distance, reduction):
    loss, aux = inverse_matching.x_reconstruction(
        SAMPLER, JUDGE, S, T, GRID, distance=distance, reduction=reduction
    )
    ratio = np.asarray(S["std"] / T["std"])
    offset = np.asarray(S["mean"]) - ratio * np.asarray(T["mean"])
    value = expected(ratio - 1, offset, distance, reduction)
    assert loss == pytest.approx(value, rel=2e-3)
    assert aux.terms["x"] == loss


@over_distances
@reductions
@pytest.mark.parametrize("cached", [False, True])
def test_oracle_of_gaussians(distance, reduction, cached):
    # With the samples in hand the teacher need not be able to do anything.
    teacher = types.ExternalFlow() if cached else types.ExternalFlow(decode=FLOW.decode)
    x = FLOW.decode(T, (GRID,)).x if cached else None
    loss, aux = inverse_matching.oracle(
        SAMPLER, teacher, S, T, (GRID,), x=x, distance=distance, reduction=reduction
    )
    slope = np.asarray(S["std"] - T["std"])
    offset = np.asarray(S["mean"] - T["mean"])
    value = expected(slope, offset, distance, reduction)
    assert loss == pytest.approx(value, rel=2e-3)
    assert (aux.teacher is None) == cached


@over_losses
def test_zero_where_the_student_is_the_inverted_teacher(name):
    variables = TEACHER.variables["params"]
    mapped = {"params": {"inverted": {"bijector": variables["stack"]}}}
    made = jax.eval_shape(INVERSE.init, jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, mapped)
    loss, argument = LOSSES[name]

    @jax.jit
    def values(student):
        given = INVERSE, TEACHER.module, student, TEACHER.variables, argument
        return [loss(*given, distance=d)[0] for d in inverse_matching.DISTANCES]

    assert values(mapped) == pytest.approx([0.0] * 3, abs=1e-5)
    # And not where it is something else.
    assert min(values(laws.perturb(mapped, 0.1))) > 1e-3


@over_losses
def test_gradients_reach_the_student_and_never_the_teacher(name):
    loss, argument = LOSSES[name]
    gradient = jax.jit(
        jax.value_and_grad(loss, argnums=(2, 3), has_aux=True), static_argnums=(0, 1)
    )
    flows = (STUDENT.module, TEACHER.module, STUDENT.variables, TEACHER.variables)
    (value, aux), (student, teacher) = gradient(*flows, argument)
    assert value == pytest.approx(float(loss(*flows, argument)[0]), rel=1e-5)
    assert value.dtype == jnp.float32
    assert value.shape == ()
    assert isinstance(aux, types.Aux)
    assert np.all(flat(teacher) == 0)
    assert np.all(np.isfinite(flat(student)))
    moved = [np.any(leaf != 0) for leaf in jax.tree.leaves(student)]
    assert np.mean(moved) > 0.9


def test_z_reconstruction_differentiates_the_teacher():
    # d/dS of ((S(z) - m) / s - z)^2: the teacher's 1 / s is in it.
    slope, _ = jax.grad(inverse_matching.z_reconstruction, argnums=2, has_aux=True)(
        SAMPLER, JUDGE, S, T, (GRID,)
    )
    by_hand = (S["mean"] - T["mean"]) / T["std"] ** 2
    np.testing.assert_allclose(slope["mean"], by_hand, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["x", "oracle"])
def test_data_and_latents_are_fixed_for_the_teacher(name):
    # The slope in the argument has nothing that came through T.
    loss, argument = LOSSES[name]
    if name == "oracle":
        gradient = jax.grad(loss, argnums=4, has_aux=True)
        ((slope,), _) = gradient(SAMPLER, FLOW, S, T, (GRID[:8],))
        gap = FLOW.decode(S, (GRID[:8],)).x - FLOW.decode(T, (GRID[:8],)).x
        by_hand = 2 * gap * S["std"] / gap.size
    else:
        gradient = jax.grad(loss, argnums=4, has_aux=True)
        slope, _ = gradient(SAMPLER, JUDGE, S, T, GRID[:8])
        gap = FLOW.decode(S, FLOW.encode(T, GRID[:8]).z).x - GRID[:8]
        by_hand = -2 * gap / gap.size
    np.testing.assert_allclose(slope, by_hand, rtol=1e-4, atol=1e-6)


def test_noise_is_added_to_the_encodings():
    noise = (0.5 * jax.random.normal(jax.random.key(3), GRID.shape),)
    loss, aux = inverse_matching.x_reconstruction(
        SAMPLER, JUDGE, T, T, GRID, noise=noise
    )
    # S = T^-1, so what is left is the noise, scaled by T's std.
    left = np.mean(np.square(noise[0] * T["std"]))
    assert loss == pytest.approx(left, rel=1e-3)
    np.testing.assert_allclose(aux.student.x, GRID + noise[0] * T["std"], atol=1e-5)
    target = FLOW.decode(T, (GRID,)).x
    predicted, _ = inverse_matching.oracle(
        SAMPLER, FLOW, T, T, (GRID,), x=target, noise=noise
    )
    assert predicted == pytest.approx(left, rel=1e-3)


def test_several_latents_have_a_distance_each():
    def encode(variables, x, cond=None):
        found = FLOW.encode(variables, x)
        return found._replace(z=(found.z[0][:, :1], found.z[0][:, 1:]))

    def decode(variables, z, cond=None):
        return FLOW.decode(variables, (jnp.concatenate(z, axis=1),))

    loss, aux = inverse_matching.z_reconstruction(
        types.ExternalFlow(decode=decode),
        types.ExternalFlow(encode=encode),
        S,
        T,
        (GRID[:, :1], GRID[:, 1:]),
    )
    assert len(aux.per_level) == 2
    assert loss == pytest.approx(float(np.mean(aux.per_level)), rel=1e-5)
    assert abs(aux.per_level[0] - aux.per_level[1]) > 0.1


def passing(variables, z, cond=None):
    """Three passes, the first two of which stop at other scales and places."""
    x = variables["mean"] + variables["std"] * z[0]
    return types.Decoding(x, None, (), earlier=(0.5 * x - 1.0, x**2))


@pytest.mark.parametrize("name", ["x", "oracle"])
@over_distances
@reductions
def test_earlier_passes_count_less_by_a_factor_each(name, distance, reduction):
    rng = np.random.default_rng(0)
    x, m, s = rng.normal(size=(8, 2)), np.asarray(S["mean"]), np.asarray(S["std"])
    z = (x - np.asarray(T["mean"])) / np.asarray(T["std"])
    student = types.ExternalFlow(decode=passing)
    loss = getattr(inverse_matching, "x_reconstruction" if name == "x" else name)
    given = (student, JUDGE, S, T) + ((x,) if name == "x" else ((z,),))
    options = {"distance": distance, "reduction": reduction}
    if name == "oracle":
        options["x"] = x
    found, aux = loss(*given, **options, earlier=0.3)

    drawn = m + s * z
    gaps = [np.abs(image - x) for image in (0.5 * drawn - 1.0, drawn**2, drawn)]
    each = {
        "l1": [g.mean() for g in gaps],
        "l2": [(g * g).mean() for g in gaps],
        "mixed": [(g + g * g).mean() / 2 for g in gaps],
    }[distance]
    each = np.array(each) * (2 if reduction == "sum" else 1)
    floats.assert_close(aux.per_level, each, rtol=1e-5)
    whole = 0.09 * each[0] + 0.3 * each[1] + each[2]
    floats.assert_close((found, aux.terms["passes"]), (whole, whole), rtol=1e-5)
    floats.assert_close(aux.terms[name], each[2], rtol=1e-5)
    # Nothing of them is in the loss, or told, where they count nothing.
    plain, aux = loss(*given, **options)
    assert loss(*given, **options, earlier=0.0)[0] == plain
    floats.assert_close(plain, each[2], rtol=1e-5)
    assert set(aux.terms) == {name}
    assert aux.per_level == ()
    # A sampler that tells of no passes: the same program, and no weights of them.
    single = (SAMPLER, *given[1:])
    floats.assert_close(loss(*single, **options)[0], plain, rtol=1e-6)
    with pytest.raises(ValueError, match=r"earlier=0.3 .* samples in one pass"):
        loss(*single, **options, earlier=0.3)


def test_a_row_that_explodes_in_any_pass_that_counts_is_left_out():
    def decode(variables, z, cond=None):
        first = jnp.exp(variables * z[0] ** 5)
        return types.Decoding(variables * z[0], None, (), earlier=(first,))

    z = np.array([[1.0], [3.0], [-1.0], [0.5]])
    arguments = types.ExternalFlow(decode=decode), JUDGE, jnp.asarray(2.0), None, (z,)
    oracle = jax.value_and_grad(inverse_matching.oracle, argnums=2, has_aux=True)
    # Of the second row the first image is infinite, and the last one is near.
    (loss, aux), slope = oracle(*arguments, x=z, limit=10.0, earlier=0.5)
    kept = z[[0, 2, 3]]
    first, last = np.exp(2 * kept**5), 2 * kept
    value = 0.5 * (first - kept) ** 2 + (last - kept) ** 2
    steep = (first - kept) * first * kept**5 + 2 * (last - kept) * kept
    floats.assert_close(loss, np.sum(value) / 4, rtol=1e-5)
    floats.assert_close(slope, np.sum(steep) / 4, rtol=1e-5)
    assert aux.terms["rejected"] == 0.25
    (loss, aux), _ = oracle(*arguments, x=z, limit=10.0)
    floats.assert_close(loss, np.sum(z**2) / 4, rtol=1e-5)
    assert aux.terms["rejected"] == 0


def test_what_does_not_fit():
    arguments = (STUDENT.module, TEACHER.module, STUDENT.variables, TEACHER.variables)
    with pytest.raises(ValueError, match=r"unknown distance 'l3'; known: .*mixed"):
        inverse_matching.x_reconstruction(*arguments, X, distance="l3")
    with pytest.raises(ValueError, match="unknown reduction"):
        inverse_matching.z_reconstruction(*arguments, Z, reduction="max")
    with pytest.raises(ValueError, match="their noise"):
        inverse_matching.x_reconstruction(*arguments, X, noise=(Z[0][:3],))
    for earlier in (-0.5, np.inf, np.nan):
        with pytest.raises(ValueError, match="expected a finite number from 0"):
            inverse_matching.x_reconstruction(*arguments, X, earlier=earlier)


def test_far_samples_of_the_student_do_not_count_for_the_oracle():
    def decode(variables, z, cond=None):
        x = z[0] * jnp.exp(variables * z[0])
        return types.Decoding(x, jnp.zeros(len(x)), ())

    student = types.ExternalFlow(decode=decode)
    z = jnp.array([[1.0], [-1.0], [500.0], [8.0]])
    target = 2 * z

    def loss(scale, limit):
        args = (student, student, scale, None, (z,))
        return inverse_matching.oracle(*args, x=target, limit=limit)

    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, aux), slope = gradient(jnp.float32(1.0), 100.0)
    # Row 2 overflows, row 3 leaves the limit.
    own = np.array([np.e - 2, -np.exp(-1.0) + 2])
    floats.assert_close(value, (own**2).sum() / 4, rtol=1e-5)
    floats.assert_close(aux.terms["rejected"], 0.5)
    expected = (2 * own * np.array([np.e, np.exp(-1.0)])).sum() / 4
    floats.assert_close(slope, expected, rtol=1e-5)
    (value, aux), slope = gradient(jnp.float32(1.0), None)
    assert not np.isfinite(slope)
    assert "rejected" not in aux.terms
