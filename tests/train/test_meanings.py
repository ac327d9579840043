"""A config as it is printed: each key, its value and what it means."""

import pytest

from configs import maf_gas
from fdnf.data import build as datasets
from fdnf.train import faults, meanings, rules
from tests import tiny


def said(config):
    """What is printed of each key."""
    lines = meanings.listing(config).splitlines()
    return {line.partition(" = ")[0]: line.partition(" = ")[2] for line in lines}


def test_every_key_is_there_with_its_value_and_meaning():
    config = maf_gas.get_config("ilkd,smoke")
    found = said(config)
    for key, value in config.teacher.config.optim.items():
        line = found[f"teacher.config.optim.{key}"]
        assert line.partition("  # ")[0].strip() == repr(value)
        assert len(line.partition("  # ")[2]) > 10
    assert found["loss.args.weights"].startswith("None ")
    assert (
        "learning rate after the warm-up. A finite number above 0." in found["optim.lr"]
    )
    assert found["model.args.steps"].split()[0] == str(config.model.args.steps)
    assert "number of blocks, K. A whole number from 1" in found["model.args.steps"]
    # What the file leaves out, which the command line can give.
    assert "[default] largest |log-scale| of a block" in found["model.args.bound"]
    assert "[default] parts a batch is cut into" in found["train.accumulate"]
    assert "Training rows, 2,000 by default" in found["data.args.rows"]
    assert "Of the distribution" in found["teacher.config.data.args.seed"]
    listed = meanings.listing(config)
    assert listed.count("\nmodel.args.steps = ") == 1


def test_what_is_missing_or_unknown_is_said():
    config = tiny.config()
    config.data = {"name": "npz", "args": {"pth": "rows.npz"}}
    config.model.args = {"stepz": 3}
    found = said(config)
    assert found["data.args.path"].startswith("? ")
    assert "has to be given" in found["data.args.path"]
    assert "there is no such key; known are steps, hidden" in found["model.args.stepz"]
    assert "there is no such key; known are path" in found["data.args.pth"]
    config.model.name, config.data.name = "mav", "ngz"
    assert said(config)["model.name"].startswith("'mav' ")
    assert faults.of(config)


OWNERS = {**rules.MODELS, **datasets.DATASETS}


@pytest.mark.parametrize("name", OWNERS)
def test_every_argument_of_models_and_data_sets_is_explained(name):
    known = rules.of_model(name) if name in rules.MODELS else rules.of_data(name)
    documented = meanings.arguments(OWNERS[name])
    assert {*known} <= {*documented}
    assert all(documented[key] for key in known)


def test_docstrings_of_both_kinds_are_read():
    def given(a, b=None, *rest):
        """What it does.

        Args:
          a: the first,
            over two lines: as here.
          b (int | None): the second.
          *rest: more.
          d, e: of two.

        Returns:
          c: nothing.
        """

    assert meanings.arguments(given) == {
        "a": "the first, over two lines: as here.",
        "b": "the second.",
        "rest": "more.",
        "d": "of two.",
        "e": "of two.",
    }
    assert meanings.arguments(lambda: 0) == {}
