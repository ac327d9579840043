"""Arguments of sweeps from a command line."""

import pytest

from launch import arguments
from launch.points import SweepError


def points(
    data: tuple[str, ...] = ("power",),
    grid: tuple[float, ...] = (0.1, 1.0),
    words: tuple[str, ...] = (),
    seeds: int = 5,
    share: float = 0.5,
    name="x",
    flag=False,
    any_=None,
):
    yield from ()


def test_values_are_read_as_what_the_defaults_are():
    given = [
        *("data=gas,bsds300", "grid=1,2.5", "words=smoke", "seeds=2", "share=1"),
        *("name=a=b", "flag=yes", "any_=(1, 'a')"),
    ]
    assert arguments.bind("sweep", points, given) == {
        "data": ("gas", "bsds300"),
        "grid": (1.0, 2.5),
        "words": ("smoke",),
        "seeds": 2,
        "share": 1.0,
        "name": "a=b",
        "flag": True,
        "any_": (1, "a"),
    }
    assert arguments.bind("sweep", points, [])["seeds"] == 5
    assert arguments.bind("sweep", points, ["words="])["words"] == ()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("seed=2", r"sweep takes data=power, grid=0\.1,1\.0, words=, seeds=5"),
        ("seeds", "sweep takes"),
        ("seeds=many", "expected a value such as 5"),
        ("grid=a,b", r"expected a value such as 0\.1,1\.0"),
        ("flag=perhaps", "expected a value such as False"),
        ("any_=(", "expected a value such as None"),
    ],
)
def test_wrong_values(given, told):
    with pytest.raises(SweepError, match=told):
        arguments.bind("sweep", points, [given])


def test_an_argument_without_a_default_must_be_given():
    with pytest.raises(SweepError, match="mine needs --set where="):
        arguments.bind("mine", lambda where, n=1: [], [])


def test_overrides_are_python_or_text():
    given = ["train.steps=5", "optim.lr=1e-3", "a=[1, 2]", "data.name=power", "x=a=b"]
    assert arguments.overrides(given) == {
        "train.steps": 5,
        "optim.lr": 1e-3,
        "a": (1, 2),
        "data.name": "power",
        "x": "a=b",
    }
    with pytest.raises(SweepError, match="expected KEY=VALUE"):
        arguments.overrides(["train.steps"])


def test_sweeps_by_name_and_by_path(tmp_path):
    assert arguments.known() == ["density", "images", "map", "table1", "weights"]
    name, function, text = arguments.load("table1")
    assert name == "table1"
    assert text.startswith("Table 1 of Walton")
    assert "seeds=5" in arguments.describe(function)
    path = tmp_path / "mine.py"
    path.write_text('"""Mine."""\ndef points():\n    yield 1\n')
    name, function, text = arguments.load(str(path))
    assert (name, text, list(function())) == ("mine", "Mine.", [1])


def test_no_such_sweep(tmp_path):
    with pytest.raises(
        SweepError, match="known are density, images, map, table1, weights"
    ):
        arguments.load("table2")
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(SweepError, match="has no function `points`"):
        arguments.load(str(path))
