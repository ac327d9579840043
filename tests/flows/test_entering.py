"""What enters a flow: a wrong call is refused, and never answered with a number.

Checks look at shapes alone, so most tests run nothing.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.maf import MAF
from fdnf.flows.mintnet import MintNet
from fdnf.flows.realnvp import RealNVP
from fdnf.losses import distillation
from tests.flows import every_flow
from tests.flows.every_flow import KINDS, ROWS, over_conditioned, over_kinds


@functools.cache
def shapes_of(kind):
    return kind.shapes()


def answer(kind, variables, *args, method, **settings):
    """Shapes of what the flow answers."""

    def run(variables, *args):
        return kind.flow.apply(variables, *args, method=method, **settings)

    return jax.eval_shape(run, variables, *args)


def refused(kind, *args, method, match="expected|made with|takes no", **settings):
    with pytest.raises(ValueError, match=match) as caught:
        answer(kind, shapes_of(kind), *args, method=method, **settings)
    assert type(kind.flow).__name__ in str(caught.value)


def refused_shape(kind, shape, cond, *, method="sample", match="expected"):
    """Of samples or latents of this shape."""
    given = {"sample": (1.0, cond), "draw": ()}[method]

    def run(variables, key):
        return kind.flow.apply(variables, key, shape, *given, method=method)

    with pytest.raises(ValueError, match=match):
        jax.eval_shape(run, shapes_of(kind), jax.random.key(0))


@over_kinds
def test_what_fits_is_answered(kind):
    variables, x, cond = shapes_of(kind), kind.data(5), kind.context(5)
    encoding = answer(kind, variables, x, cond, method="encode")
    assert encoding.log_det.shape == (5,)

    # A draw, and the sampler, which decodes one: latents in a tuple.
    def sample(variables, key, cond):
        return kind.flow.apply(variables, key, x.shape, 0.7, cond, method="sample")

    drawn = jax.eval_shape(sample, variables, jax.random.key(0), cond)
    assert drawn.shape == x.shape


def test_latents_may_come_in_a_list():
    kind = next(kind for kind in KINDS if kind.name == "waveglow")
    z = list(kind.latents(5))
    found = answer(kind, shapes_of(kind), z, method="decode")
    assert found.x.shape == (5, *kind.event)


@over_conditioned
def test_without_the_condition_it_was_made_with(kind):
    refused(kind, kind.data(), method="encode", match="condition")
    refused(kind, kind.data(), method="log_prob", match="condition")
    refused(kind, kind.latents(), method="decode", match="condition")
    refused_shape(kind, (ROWS, *kind.event), None, match="condition")


@over_kinds
def test_a_condition_that_it_was_not_made_with(kind):
    if kind.cond is None:
        wrong = [(2,), (2, 2, 3), (8, 5)]
    else:
        wider = (*kind.cond[:-1], kind.cond[-1] + 1)
        wrong = [wider, (*kind.cond, 1)]
        # As many numbers as one row's condition has would be one for all rows.
        wrong += [kind.cond[:-1]] * ((ROWS, *kind.cond[:-1]) != kind.cond)
    for shape in wrong:
        cond = jnp.zeros((ROWS, *shape))
        refused(kind, kind.data(), cond, method="encode", match="condition")
        refused(kind, kind.latents(), cond, method="decode", match="condition")


@over_conditioned
def test_a_condition_of_other_rows(kind):
    cond = kind.context(2)
    match = "2 low-resolution images|condition of shape|equal shape"
    with pytest.raises(ValueError, match=match):
        answer(kind, shapes_of(kind), kind.data(), cond, method="encode")
    with pytest.raises(ValueError, match=match):
        answer(kind, shapes_of(kind), kind.latents(), cond, method="decode")


@over_conditioned
def test_one_condition_is_that_of_every_row(kind):
    usual, x, z = shapes_of(kind), kind.data(), kind.latents()
    one = kind.context(1)
    assert answer(kind, usual, x, one, method="encode").log_det.shape == (ROWS,)
    assert answer(kind, usual, z, one[0], method="decode").x.shape == x.shape


@over_kinds
def test_conditions_of_other_axes_are_refused_at_once(kind):
    """In `init` too, where nothing is known of the flow but its kind."""
    told = [len(axes) for axes in kind.flow.condition_axes]
    for axes in set(range(6)) - {*told, *(count + 1 for count in told)}:
        cond = jnp.zeros((ROWS, *[2] * (axes - 1)) if axes else ())
        match = f"{type(kind.flow).__name__} .*(condition of|takes no condition)"
        with pytest.raises(ValueError, match=match):
            jax.eval_shape(kind.flow.init, jax.random.key(0), kind.data(), cond)


@over_kinds
def test_data_without_a_batch_axis_or_with_one_too_many(kind):
    x, cond = kind.data(), kind.context()
    refused(kind, x[0], cond, method="encode")
    refused(kind, jnp.zeros(kind.event[-1:]), cond, method="encode", match=r"x\[None\]")
    # NICE takes events of any shape as vectors.
    if not kind.name.startswith("nice"):
        refused(kind, x[:, None], cond, method="encode")
    # In `init`, where nothing is known of the flow, too.
    with pytest.raises(ValueError, match="expected"):
        jax.eval_shape(kind.flow.init, jax.random.key(0), jnp.zeros(4), cond)


def test_one_vector_is_one_example():
    for flow in (MAF(2, (8,)), RealNVP(2, (8,))):
        kind = every_flow.Kind("vector", flow, (4,))
        refused(kind, jnp.zeros(4), method="log_prob", match=r"batch of one, x\[None\]")
        refused(kind, jnp.zeros((3, 2, 4)), method="log_prob", match=r"\[batch, 4\]")


@over_kinds
def test_data_of_another_width(kind):
    cond = kind.context()
    for width in (kind.event[-1] + 1, 2 * kind.event[-1], 1):
        if width == kind.event[-1]:
            continue
        shape = (ROWS, *kind.event[:-1], width)
        refused(kind, jnp.zeros(shape), cond, method="encode")
        for method in ("sample", "draw"):
            refused_shape(kind, shape, cond, method=method)


@over_kinds
def test_samples_of_other_axes(kind):
    for shape in ((ROWS,), (ROWS, 2, *kind.event)):
        if kind.name.startswith("nice") and len(shape) > 1:
            continue
        refused_shape(kind, shape, kind.context())


@over_kinds
def test_latents_of_another_number_or_shape(kind):
    z, cond = kind.latents(), kind.context()
    top = z[-1]
    wrong = [
        (),
        (*z, top),
        z[:-1],
        tuple(part[0] for part in z),
        (*z[:-1], jnp.concatenate([top, top], axis=-1)),
        (*z[:-1], top[:-1]) if len(z) > 1 else (),
        z[::-1] if len({part.shape for part in z}) > 1 else (),
    ]
    for given in wrong:
        refused(kind, given, cond, method="decode", match="latents")
    # One array is no tuple of one: its first row would be taken for a latent.
    refused(kind, top, cond, method="decode", match=r"\(z,\) for one")


def test_a_folded_flow_is_looked_at_too():
    kind, variables = every_flow.folded()
    answer(kind, variables, kind.data(), kind.context(), method="encode")
    for args in ((kind.data(),), (kind.data()[..., :1], kind.context())):
        with pytest.raises(ValueError, match="Glow .*expected"):
            answer(kind, variables, *args, method="encode")


def test_under_jit_grad_vmap_and_pmap():
    kind = next(kind for kind in KINDS if kind.name == "maf_cond")
    x, cond = kind.data(), kind.context()
    variables = jax.jit(kind.flow.init)(jax.random.key(0), x, cond)

    def total(variables, x, cond=None):
        return jnp.sum(kind.flow.apply(variables, x, cond, method="log_prob"))

    runs = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), variables)
    both = jnp.stack([x, x])
    for way in (
        jax.jit(total),
        jax.grad(total),
        lambda v, x: jax.vmap(total)(runs, both),
        lambda v, x: jax.pmap(total)(runs, both),
    ):
        with pytest.raises(ValueError, match="MAF without a condition"):
            way(variables, x)
    conds = jnp.stack([cond, cond])
    np.testing.assert_allclose(
        jax.vmap(total)(runs, both, conds),
        [total(variables, x, cond)] * 2,
        rtol=1e-5,
        atol=1e-5,
    )


def test_nothing_of_it_is_left_in_the_program():
    kind = next(kind for kind in KINDS if kind.name == "maf")
    variables = kind.flow.init(jax.random.key(0), kind.data())

    def checked(x):
        return kind.flow.apply(variables, x, method="encode").log_det

    def unchecked(x):
        return kind.flow.apply(variables, x, None, method="_encode")[1]

    programs = [
        str(jax.make_jaxpr(f)(kind.data()).jaxpr.eqns[-3:])
        for f in (checked, unchecked)
    ]
    assert "convert_element_type" not in programs[0]
    lines = [len(jax.make_jaxpr(f)(kind.data()).eqns) for f in (checked, unchecked)]
    # The prior's density, which `_encode` leaves to `encode`, is no longer read.
    assert lines[0] - lines[1] < 12


GIVEN = {
    "list": lambda x: np.asarray(x).tolist(),
    "numpy": np.asarray,
    "float64": lambda x: np.asarray(x, np.float64),
    "int32": lambda x: jnp.asarray(x, jnp.int32),
    "uint8": lambda x: jnp.asarray(jnp.abs(x), jnp.uint8),
    "bool": lambda x: x > 0,
    "float16": lambda x: x.astype(jnp.float16),
    "bfloat16": lambda x: x.astype(jnp.bfloat16),
}


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("given", GIVEN)
def test_data_of_any_dtype(given, x64):
    kind = next(kind for kind in KINDS if kind.name == "maf_cond")
    with jax.enable_x64(x64):
        arrays = (kind.data(), kind.context(), kind.latents())
        x, cond, z = jax.tree.map(GIVEN[given], arrays)
        assert both_dtypes(kind, shapes_of(kind), x, cond, z) == {"float32"}


@pytest.mark.parametrize("kind", every_flow.ONE_EACH, ids=lambda kind: kind.name)
def test_one_dtype_whatever_enters_in_64_bit_mode(kind):
    variables = shapes_of(kind)
    with jax.enable_x64(True):
        x, cond, z = kind.data(), kind.context(), kind.latents()
        x, z = x.astype(jnp.int32), tuple(part.astype(jnp.bfloat16) for part in z)
        cond = None if cond is None else np.asarray(cond, np.float64)
        # `init` encodes: of whatever dtype, and makes weights of one.
        encoding, made = jax.eval_shape(
            kind.flow.init_with_output, jax.random.key(0), x, cond
        )
        found = {
            str(leaf.dtype) for leaf in jax.tree.leaves((encoding, made["params"]))
        }
        assert found == {"float32"}
        decoded = answer(kind, variables, z, cond, method="decode")
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(decoded)} == {"float32"}
        doubles = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, np.float64 if leaf.dtype == np.float32 else leaf.dtype
            ),
            variables,
        )
        assert both_dtypes(kind, doubles, x, cond, z) == {"float64"}


def both_dtypes(kind, variables, x, cond, z):
    """Dtypes of all that `encode` and `decode` give."""

    def run(variables):
        apply = kind.flow.apply
        return (
            apply(variables, x, cond, method="encode"),
            apply(variables, z, cond, method="decode"),
        )

    found = jax.eval_shape(run, variables)
    return {str(leaf.dtype) for leaf in jax.tree.leaves(found)}


@over_kinds
def test_weights_of_half_precision_are_refused_by_name(kind):
    for dtype in (jnp.bfloat16, jnp.float16):
        variables = jax.tree.map(
            lambda leaf, dtype=dtype: jax.ShapeDtypeStruct(leaf.shape, dtype),
            shapes_of(kind),
        )
        name = f"{type(kind.flow).__name__} with weights of {np.dtype(dtype).name}"
        with pytest.raises(ValueError, match=name):
            answer(kind, variables, kind.data(), kind.context(), method="encode")


def test_lists_of_attributes_are_tuples():
    listed, usual = MAF(hidden=[8, 8]), MAF(hidden=(8, 8))
    assert listed == usual
    assert hash(listed) == hash(usual)
    assert MintNet(2, [1, 2]) == MintNet(2, (1, 2))
    x = jnp.zeros((3, 4))
    variables = jax.eval_shape(listed.init, jax.random.key(0), x)
    jax.eval_shape(lambda v: distillation.lkd(listed, usual, v, v, x)[0], variables)


def test_what_is_no_number_is_refused():
    kind = next(kind for kind in KINDS if kind.name == "maf")
    with pytest.raises(ValueError, match="MAF: data given as str: expected an array"):
        answer(kind, shapes_of(kind), method="encode", x="data")
    with pytest.raises(ValueError, match="complex64: expected real numbers"):
        answer(kind, shapes_of(kind), kind.data() + 1j, method="encode")
