"""Every point of every sweep is a config that the trainer takes."""

import importlib
import pathlib
import sys

import ml_collections
import pytest
from absl import flags
from ml_collections import config_flags

from fdnf.train import settings
from launch import arguments, bundles, points
from launch.folder import Folder

EVERY = {
    "table1": ["data=power,gas,hepmass,miniboone_small,bsds300"],
    "weights": ["arch=maf,glow", "data=bsds300,miniboone_small", "skd=0,0.1"],
    "images": ["data=digits,fashion_mnist,mnist,patches,cifar10,celeba64"],
    "density": [],
    "map": ["rows=2000", "steps=0,100", "data=miniboone_small"],
}


def points_of(sweep, *more):
    name, function, _ = arguments.load(sweep)
    values = arguments.bind(name, function, [*EVERY[sweep], "seeds=2", *more])
    return points.check(list(function(**values)))


def config_of(point: points.Point):
    stem, _, words = point.config.partition(":")
    module = importlib.import_module(stem.removesuffix(".py").replace("/", "."))
    return module.get_config(words)


@pytest.mark.parametrize("sweep", list(EVERY))
@pytest.mark.parametrize("words", ["", "smoke"])
def test_points_are_valid_configs(sweep, words):
    every = points_of(sweep, f"words={words}")
    for point in every:
        config = config_of(point)
        resolved = point.resolved("runs")
        known = config.lock()
        known.update_from_flattened_dict(resolved)
        settings.check(known)
        assert known.seed == point.overrides["seed"]
        taught = "teacher" in known
        assert taught == bool(point.after)
        if taught:
            assert known.teacher.workdir == f"runs/{point.after[0]}"
            (teacher,) = [p for p in every if p.name in point.after]
            assert "seed=" in teacher.name
            assert teacher.overrides["seed"] == point.overrides["seed"]
            assert config_of(teacher).data.name == config_of(point).data.name
        if words:
            assert known.data.name.startswith("synthetic")


def test_table_1_is_whole():
    name, function, _ = arguments.load("table1")
    found = list(function())
    assert len(found) == 2 * 5 * 5 * 5
    assert len({point.name for point in found}) == len(found)
    # Whatever is asked for, those taught come with their teachers.
    some = points.check(list(function(methods=("ilkd",), seeds=1, data=("gas",))))
    assert [p.config.partition(":")[2] for p in some] == ["teacher", "teacher"] + [
        "ilkd",
        "ilkd",
    ]
    none = list(function(methods=("student",), seeds=1, data=("gas",), arch=("maf",)))
    assert [point.after for point in none] == [()]


def test_smoke_tells_data_sets_apart_by_label():
    """Records of one method and seed must differ; synthetic data have one name."""
    for sweep in EVERY:
        found = points_of(sweep, "words=smoke")
        keys = [
            (p.config.split("_")[0], p.overrides["label"], p.overrides["seed"])
            for p in found
        ]
        assert len(set(keys)) == len(keys), sweep


def test_the_grid_of_weights_trains_as_one_program():
    name, function, _ = arguments.load("weights")
    found = points.check(list(function()))
    planned = bundles.plan(found, None)
    assert sorted(len(bundle.points) for bundle in planned) == [4, 4, 16]
    labels = {point.overrides.get("label") for point in planned[-1].points}
    assert labels == {"ilkd w=0.01", "ilkd w=0.1", "ilkd w=1", "ilkd w=10"}
    assert "loss.args.weights=1.0_0.01_0.0" in planned[-1].points[0].name


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_a_points_command_gives_its_config(monkeypatch):
    """What flags make of the text of a command is what the point says."""
    found = points_of("weights")
    point = next(p for p in found if "loss.args.weights" in p.overrides)
    command = Folder("runs/w").command(point)
    words = [word for word in command if word.startswith("--config")]
    values = flags.FlagValues()
    # Where ml_collections looks for the overrides.
    monkeypatch.setattr(sys, "argv", ["main", *words])
    config_flags.DEFINE_config_file("config", flag_values=values)
    values(sys.argv)
    config = values.config
    assert isinstance(config, ml_collections.ConfigDict)
    assert config.label == point.overrides["label"]
    assert config.loss.args.weights == point.overrides["loss.args.weights"]
    assert config.teacher.workdir == point.resolved("runs/w")["teacher.workdir"]
    assert pathlib.Path(config.teacher.workdir).name == "seed=0"
