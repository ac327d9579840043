"""What enters a student: a wrong call is refused, other dtypes are cast."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.students.build import STUDENTS
from fdnf.students.resnet import ResNet
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent
from fdnf.students.wave import (
    WaveAffineStudent,
    WaveFlowStudent,
    WaveNetStudent,
    WaveWideFlowStudent,
)

ROWS = 3
ENCODER = {"features": 4, "blocks": 1, "growth": 2, "rdbs": 1, "convs": 1}
WAVE = {"layers": 1, "channels": 4, "blocks": 1, "hop": 4, "upsampler_taps": 8}
BASE = {"base_blocks": 1, "base_rdbs": 1, "base_convs": 1, "base_growth": 2}


class Kind(NamedTuple):
    """A student, the shape of its data, and that of one row's condition."""

    name: str
    student: Any
    event: tuple[int, ...]
    cond: tuple[int, ...] | None = None

    def arguments(self):
        z = self.student.draw(jax.random.key(0), (ROWS, *self.event))
        return z, None if self.cond is None else jnp.zeros((ROWS, *self.cond))


WAVES = (WaveNetStudent, WaveFlowStudent, WaveWideFlowStudent, WaveAffineStudent)
KINDS = [
    Kind("resnet", ResNet(4, 2), (4, 4, 1)),
    Kind("resnet_cond", ResNet(4, 2), (4, 4, 1), (3,)),
    Kind("resnet_image_cond", ResNet(4, 2), (4, 4, 1), (2, 2, 3)),
    Kind("rrdb", RRDBNet(2, **ENCODER), (8, 8, 3), (4, 4, 3)),
    Kind(
        "srflow",
        SRFlowStudent(4, [6, 24, 96], taps=[0], **ENCODER, **BASE),
        (8, 8, 3),
        (2, 2, 3),
    ),
    *(Kind(kind.__name__, kind(**WAVE), (32, 1)) for kind in WAVES),
    *(Kind(f"{kind.__name__}_cond", kind(**WAVE), (32, 1), (8, 5)) for kind in WAVES),
]
assert {type(kind.student) for kind in KINDS} == set(STUDENTS.values())
over_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@functools.cache
def shapes_of(kind):
    return jax.eval_shape(kind.student.init, jax.random.key(0), *kind.arguments())


def answer(kind, *args, variables=None, method="decode"):
    variables = shapes_of(kind) if variables is None else variables
    return jax.eval_shape(
        lambda variables: kind.student.apply(variables, *args, method=method),
        variables,
    )


def refused(kind, *args, match):
    for method in ("decode", "__call__"):
        with pytest.raises(ValueError, match=match):
            answer(kind, *args, method=method)


@over_kinds
def test_conditions(kind):
    z, cond = kind.arguments()
    assert answer(kind, z, cond).x.shape == (ROWS, *kind.event)
    if cond is None:
        for shape in ((3,), (2, 2, 3), (8, 5)):
            refused(kind, z, jnp.zeros((ROWS, *shape)), match="made without")
        return
    refused(kind, z, match="condition")
    wider = jnp.zeros((ROWS, *kind.cond[:-1], kind.cond[-1] + 1))
    refused(kind, z, wider, match="condition")
    refused(kind, z, cond[..., None], match="condition")
    if z:
        refused(kind, z, cond[:2], match="condition")
        for one in (cond[:1], cond[0]):
            assert answer(kind, z, one).x.shape == (ROWS, *kind.event)


@over_kinds
def test_latents(kind):
    z, cond = kind.arguments()
    if not z:
        refused(kind, (cond,), cond, match="RRDBNet takes none")
        return
    top = z[-1]
    refused(kind, (*z, top), cond, match="latents")
    refused(kind, tuple(part[0] for part in z), cond, match="latents")
    refused(kind, (*z[:-1], jnp.tile(top, 2)), cond, match="latents")
    refused(kind, top, cond, match=r"\(z,\) for one")


@over_kinds
def test_dtypes(kind):
    variables = shapes_of(kind)
    with jax.enable_x64(True):
        z, cond = kind.arguments()
        z = [part.astype(jnp.bfloat16) for part in z]
        cond = None if cond is None else np.asarray(cond, np.float64)
        assert answer(kind, z, cond, variables=variables).x.dtype == np.float32
        made = jax.eval_shape(kind.student.init, jax.random.key(0), z, cond)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(made)} == {"float32"}
    half = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), variables
    )
    with pytest.raises(ValueError, match="with weights of bfloat16"):
        answer(kind, z, cond, variables=half)


def test_lists_are_tuples():
    student = SRFlowStudent(4, [6, 24, 96], taps=[0])
    assert student == SRFlowStudent(4, (6, 24, 96), taps=(0,))
    hash(student)
    hash(WaveNetStudent(latents=[2, 2, 4]))
