"""What `help` prints of a model, and what completion shows."""

import abc
import inspect
import pydoc

import pytest

import fdnf
from fdnf.flows import build as flows
from fdnf.flows.maf import MAF
from fdnf.students import build as students

MODELS = {**flows.FLOWS, **students.STUDENTS}


def printed(thing):
    return pydoc.plain(pydoc.render_doc(thing)).splitlines()


@pytest.mark.parametrize("name", MODELS)
def test_help_is_of_the_model_and_not_of_flax(name):
    model = MODELS[name]
    lines = printed(model)
    assert len(lines) < 500
    assert lines[2].startswith(f"class {model.__name__}(")
    assert "_Sentinel" not in "\n".join(lines[:40])
    found = set(dir(model))
    assert {"decode", "sample", "init", "apply", "__call__"} <= found
    assert found.isdisjoint({"sow", "perturb", "scope", "parent", "__dict__"})
    # Hidden, not gone.
    assert callable(model.sow)
    assert callable(model.tabulate)


def test_signature_has_the_attributes_alone():
    assert [*inspect.signature(MAF).parameters][:2] == ["steps", "hidden"]
    assert {"parent", "name"}.isdisjoint(inspect.signature(MAF).parameters)
    assert inspect.signature(fdnf.flows.Glow) != inspect.signature(MAF)

    class Wider(MAF):
        width: int = 3

    assert "width" in inspect.signature(Wider).parameters
    assert Wider(width=4, name="wider").name == "wider"


def test_classes_of_a_users_own_mix_in_abstract_ones():
    class Mine(MAF, abc.ABC):
        def mine(self):
            return self.steps

    assert Mine(steps=2).mine() == 2
    assert "mine" in dir(Mine)


@pytest.mark.parametrize("name", flows.FLOWS)
def test_the_first_screen_says_how_a_flow_is_used(name):
    screen = "\n".join(printed(flows.FLOWS[name])[:24])
    for call in ("init", "apply"):
        assert f"flow.{call}(" in screen
    for method in ("encode", "decode", "log_prob", "sample"):
        assert f'method="{method}")' in screen
