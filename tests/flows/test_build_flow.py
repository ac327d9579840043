"""Names and arguments of configs become flows, or errors that say what is known."""

import types

import jax
import ml_collections
import pytest

from fdnf.flows import build
from fdnf.flows.maf import MAF


def config(name, /, **args):
    return types.SimpleNamespace(name=name, args=args)


@pytest.mark.parametrize("name", sorted(build.FLOWS))
def test_every_name_builds_a_hashable_flow(name):
    others = {"affine": {}, "waveglow": {"flows": 2}}
    others |= dict.fromkeys(("tarflow", "tarflow_iaf"), {"blocks": 2})
    given = others.get(name, {"steps": 2})
    flow = build.build(config(name, **given))
    assert isinstance(flow, build.FLOWS[name])
    assert {key: getattr(flow, key) for key in given} == given
    hash(flow)


def test_lists_of_saved_configs_become_tuples():
    section = ml_collections.ConfigDict({"name": "maf", "args": {"hidden": [8, 8]}})
    flow = build.build(section)
    assert flow == MAF(hidden=(8, 8))
    hash(flow)
    x = jax.ShapeDtypeStruct((2, 3), "float32")
    jax.eval_shape(flow.init, jax.random.key(0), x)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown model.name 'glou'.*glow_tabular"):
        build.build(config("glou"))


def test_unknown_argument_lists_the_known():
    with pytest.raises(ValueError, match=r"\['width'\].*MAF.*'hidden'"):
        build.build(config("maf", width=3))


@pytest.mark.parametrize("reserved", ["parent", "name"])
def test_flax_fields_are_not_arguments(reserved):
    with pytest.raises(ValueError, match=reserved):
        build.build(config("maf", **{reserved: "x"}))
