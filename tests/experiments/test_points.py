"""Points of a sweep: their file, what is refused, and what is done again."""

import contextlib
import json
import pathlib

import pytest
from PIL import Image

from fdnf import files
from fdnf.evaluation.core import scores, stored
from fdnf.evaluation.core.scores import Result, Run
from fdnf.experiments import points, study
from fdnf.train import packs
from fdnf.train.settings import ConfigError
from launch import folder
from tests import flagged, tiny


def write(tmp_path, content):
    path = tmp_path / "points.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_overrides_change_copies(tmp_path):
    config = tiny.config("ilkd")
    path = write(
        tmp_path,
        [
            {
                "workdir": "runs/a",
                "overrides": {
                    "seed": 3,
                    "optim.lr": 1,
                    "loss.args.weights": [1.0, 0.1, 0.0],
                    "teacher.workdir": "runs/t",
                    "label": "ilkd w=0.1",
                },
            },
            {"workdir": "runs/b", "overrides": {"teacher.workdir": "runs/u"}},
        ],
    )
    config.lock()
    one, two = points.read(path, config)
    assert (str(one.workdir), str(one.teacher)) == ("runs/a", "runs/t")
    assert (one.config.seed, one.config.optim.lr) == (3, 1.0)
    # Modules and programs need tuples.
    assert one.config.loss.args.weights == (1.0, 0.1, 0.0)
    assert points.method(one.config) == "ilkd w=0.1"
    assert (two.config.seed, str(two.teacher)) == (0, "runs/u")
    assert points.method(two.config) == "ilkd"
    assert config.seed == 0
    assert config.teacher.workdir == ""


def test_the_home_directory_is_expanded_where_points_enter(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    entry = {"workdir": "~/a", "overrides": {"teacher.workdir": "~/t"}}
    (one,) = points.read(write(tmp_path, [entry]), tiny.config("ilkd"))
    assert (one.workdir, one.teacher) == (tmp_path / "a", tmp_path / "t")
    assert one.config.teacher.workdir == str(tmp_path / "t")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", r"points.json: expected a list of objects .*JSONDecodeError"),
        ("{}", "no point"),
        ("[]", "no point"),
        ({"workdir": "a", "overrides": {}}, "expected a list of objects"),
        ([{"overrides": {}}], "KeyError: 'workdir'"),
        ([{"workdir": "a"}], "KeyError: 'overrides'"),
        ([{"workdir": "a", "overrides": 3}], "expected a list of objects"),
        ([{"workdir": 3, "overrides": {}}], "expected a list of objects"),
        ([{"workdir": ["a"], "overrides": {}}], "expected a list of objects"),
        ([{"workdir": "a", "overrides": {}}] * 2, r"a workdir twice: \['a'\]"),
        (
            [{"workdir": "a", "overrides": {}}, {"workdir": "./a/", "overrides": {}}],
            "a workdir twice",
        ),
        (b"\xff\xfe", "expected a list of objects .*UnicodeDecodeError"),
        ("3", "expected a list of objects"),
        ("null", "expected a list of objects"),
        ("[" * 100_000, "expected a list of objects .*RecursionError"),
        ([{"workdir": "", "overrides": {}}], "expected a list of objects"),
        ([{"workdir": "a", "overrides": [["seed", 3]]}], "expected a list of objects"),
        ([{"workdir": "a", "overrides": {}, "seed": 3}], "got .*seed"),
        (
            [{"workdir": "a", "overrides": {"seed": "x"}}],
            "points.json, the point a: override seed='x'",
        ),
        ([{"workdir": "a", "overrides": {"sede": 3}}], "unknown config key: sede"),
        ([{"workdir": "a", "overrides": {"optim.rate": 3}}], "key: optim.rate"),
        ([{"workdir": "a", "overrides": {"optim.lr.x": 3}}], "key: optim.lr.x"),
        ([{"workdir": "a", "overrides": {"no.such.key": 3}}], "key: no.such.key"),
        ([{"workdir": "a", "overrides": {"seed": "three"}}], "override seed='three'"),
        ([{"workdir": "a", "overrides": {"seed": 0.5}}], "override seed=0.5"),
    ],
)
def test_wrong_files(content, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        points.read(write(tmp_path, content), tiny.config())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nothing.json"):
        points.read(tmp_path / "nothing.json", tiny.config())


def test_a_student_needs_a_teacher(tmp_path):
    with pytest.raises(ConfigError, match="'ilkd' as a point needs .* teacher.workdir"):
        points.member(tiny.config("ilkd"), tmp_path)


def test_done_ones_are_not_done_again(tmp_path, monkeypatch):
    evaluated, steps = [], 12

    def report(workdir, where, data, evaluation):
        evaluated.append((workdir.name, *where))
        run = Run("synthetic", *where, 0, "MAF", "vectors", facts={"steps": steps})
        scores.write(Result(run, ()), workdir / stored.RESULTS)
        (workdir / "table.md").write_text("")

    def train(members, pack, label):
        for member in members:
            yield member, None if member.workdir.name == "lost" else {"steps": steps}

    monkeypatch.setattr(study, "report", report)
    monkeypatch.setattr(packs, "train", train)
    names = [{"workdir": str(tmp_path / n), "overrides": {}} for n in ("a", "lost")]
    names.append({"workdir": str(tmp_path / "b"), "overrides": {"label": "mine"}})
    members = points.read(write(tmp_path, names), tiny.config())
    assert points.run(members, "auto") == [tmp_path / "lost"]
    assert evaluated == [("a", "teacher"), ("b", "mine")]
    points.run(members, "auto")
    assert len(evaluated) == 2
    # Made longer, they are others.
    steps = 24
    points.run(members, "auto")
    assert len(evaluated) == 4


def test_bad_points_do_not_stop_the_good_ones(tmp_path, monkeypatch):
    given = []

    def train(members, pack, label):
        for member in members:
            given.append(member.workdir.name)
            yield member, None

    monkeypatch.setattr(packs, "train", train)
    places = {"good": {}, "seedless": {"seed": -1}, "[a]": {}, "fine": {"seed": 1}}
    entries = [
        {"workdir": str(tmp_path / k), "overrides": v} for k, v in places.items()
    ]
    members = points.read(write(tmp_path, entries), tiny.config())
    refused = [tmp_path / "seedless", tmp_path / "[a]"]
    assert points.run(members, "auto")[:2] == refused
    assert given == ["good", "fine"]
    assert "seed" in json.loads((refused[0] / "failed.json").read_text())["error"]
    with pytest.raises(ConfigError, match="seed"):
        points.run(members[1:2], "auto")


def test_points_are_trained_and_evaluated_each_in_its_directory(tmp_path):
    entries = [
        {"workdir": str(tmp_path / name), "overrides": {"seed": seed, "label": name}}
        for seed, name in enumerate(("first", "second"))
    ]
    members = points.read(write(tmp_path, entries), tiny.affine())
    assert points.run(members, "auto") == []
    for seed, name in enumerate(("first", "second")):
        workdir = tmp_path / name
        for file in ("config.json", "log.jsonl", "finished.json", "table.md"):
            assert (workdir / file).exists(), file
        found = (workdir / "results").glob("*/*/result.json")
        places = sorted((p.parent.parent.name, p.parent.name) for p in found)
        assert places == [(name, f"seed_{seed}"), ("training", "seed_0")]
        assert name in (workdir / "table.md").read_text()
        assert stored.evaluated(workdir, 12)


class Killed(BaseException):
    """Stands for a kill."""


def test_killed_while_it_writes_is_not_done(tmp_path, monkeypatch):
    """At each of three files, one try after the other; the last goes on from there."""
    replacing = files.replacing
    workdir = tmp_path / "point"
    members = [points.member(tiny.affine(), workdir)]
    for at in ("figures/training.png", "figures/marginals.png", "table.md"):

        @contextlib.contextmanager
        def dies(path, at=at):
            with replacing(path) as file:
                yield file
                if pathlib.Path(path) == workdir / at:
                    raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(files, "replacing", dies)
            with pytest.raises(Killed):
                points.run(members, "auto")
        # Results are written in one go, after the pictures.
        there = any((workdir / "results").glob("*/*/result.json"))
        assert there == (at == "table.md")
        assert not stored.evaluated(workdir, 12)
        assert not folder.is_done(workdir)
        assert not (workdir / at).exists()
    assert points.run(members, "auto") == []
    assert stored.evaluated(workdir, 12)
    assert folder.is_done(workdir)
    for name in ("training.png", "marginals.png"):
        with Image.open(workdir / "figures" / name) as image:
            image.load()
    assert not list(workdir.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mode=single"], "give --workdir, or --points"),
        (["--workdir={0}/run", "--points={0}/points.json"], "give --workdir, or"),
        (["--mode=train", "--points={0}/points.json"], "--points is for --mode=single"),
        (
            ["--mode=single", "--workdir={0}/run", "--pack=some"],
            "--pack=some: expected auto, 1",
        ),
        (
            ["--mode=single", "--workdir={0}/run", "--num_processes=2"],
            "give --coordinator=HOST:PORT",
        ),
    ],
)
def test_wrong_commands(arguments, says, tmp_path, capfd):
    write(tmp_path, [{"workdir": str(tmp_path / "a"), "overrides": {}}])
    given = [argument.format(tmp_path) for argument in arguments]
    assert (
        flagged.run("--config=configs/maf_gas.py:smoke", *given, "--compilation_cache=")
        == 2
    )
    assert says in capfd.readouterr().err
    assert not (tmp_path / "a").exists()
