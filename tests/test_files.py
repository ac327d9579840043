"""Files that are whole or not there, strict JSON, and text in any locale."""

import ast
import functools
import json
import math
import os
import pathlib
import stat
import subprocess
import sys

import numpy as np
import pytest

from fdnf import files
from fdnf.evaluation.core import scores, stored
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.experiments.gaussian import study as gaussian_study

ROOT = pathlib.Path(__file__).parents[1]


class Killed(BaseException):
    """Stands for a kill."""


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.json"
    files.write_json(path, {"a": 1})

    def half():
        with files.replacing(path) as file:
            file.write(b'{"a"')
            raise Killed

    with pytest.raises(Killed):
        half()
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_two_writers_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "file"
    with files.replacing(path) as ours:
        ours.write(b"ours")
        with files.replacing(path) as theirs:
            theirs.write(b"theirs")
        assert path.read_bytes() == b"theirs"
    assert path.read_bytes() == b"ours"


def test_temporary_files_follow_no_link(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "known")
    (tmp_path / ".file.known.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        files.write_text(tmp_path / "file", "theirs")
    assert victim.read_text() == "mine"


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_json_is_strict():
    content = {
        "a": (math.nan, [math.inf], -math.inf, 1.5),
        "b": np.array([1.0, np.nan]),
        "c": {2: np.float32(0.5)},
        "d": np.int64(3),
    }

    def refuse(name):
        raise AssertionError(name)

    found = json.loads(files.dumps(content), parse_constant=refuse)
    assert found == {
        "a": [None, [None], None, 1.5],
        "b": [1.0, None],
        "c": {"2": 0.5},
        "d": 3,
    }


@pytest.mark.parametrize("content", [b"", b" ", b"{", b"null", b"[]", b"\xff\x00"])
def test_damaged_json_is_named_with_the_way_out(content, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(files.DamagedError, match=r"file\.json: .*; make it again"):
        files.read_json(path, "make it again")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_printed(encoding):
    code = (
        "from fdnf import files; files.print_anything(); print('1 \\u00b1 2 \\u2192')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    wanted = {"latin-1": b"1 \xb1 2 \\u2192"}
    assert done.stdout.strip() == wanted.get(encoding, "1 \xb1 2 \u2192".encode())


PROGRAMS = [*(ROOT / "fdnf").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]
# What writes files of its own: archives that are unpacked and fetched by a temporary
# name that nobody else has, and what grows line by line.
OWN = {
    "fdnf/files.py",
    "fdnf/data/download.py",
    "fdnf/train/writers.py",
    "launch/folder.py",
    "launch/job.py",
    "launch/sweep.py",
}


@functools.cache
def calls(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [
        (getattr(node.func, "attr", getattr(node.func, "id", "")), node)
        for node in nodes
        if isinstance(node, ast.Call)
    ]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def is_ours(node):
    """Whether it is `files.write_text`, or that of the launchers."""
    of = getattr(getattr(node.func, "value", None), "id", "")
    return of in ("files", "folders")


def test_there_is_one_way_to_write_a_file():
    found = []
    for path in PROGRAMS:
        for name, node in calls(path) if name_of(path) not in OWN else ():
            if name in ("write_text", "write_bytes") and not is_ours(node):
                found.append(f"{name_of(path)}:{node.lineno}")
            if name == "open" and isinstance(node.func, ast.Name):
                modes = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant)]
                if set("".join(map(str, modes))) & set("wxa"):
                    found.append(f"{name_of(path)}:{node.lineno}")
    assert found == []


def test_text_is_read_in_one_encoding():
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in PROGRAMS
        for name, node in calls(path)
        if name in ("read_text", "write_text") and isinstance(node.func, ast.Attribute)
        if not is_ours(node) and not node.args[name == "write_text" :]
        if "encoding" not in {word.arg for word in node.keywords}
    ]
    assert found == []


# In CI `test_any_text_can_be_printed` has what the report calls for this.
@pytest.mark.slow
def test_a_table_is_printed_in_a_posix_locale(tmp_path):
    for seed in (0, 1):
        score = Score("log_likelihood", 1.0 + seed, "test", se=0.1)
        run = Run("gas", "student", seed, "MAF", "vectors")
        scores.write(Result(run, (score,)), tmp_path / "results")
    done = subprocess.run(
        [sys.executable, "-m", "fdnf.evaluation.report", str(tmp_path)],
        cwd=ROOT,
        env=os.environ
        | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert "1.500 \xb1 6.353" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("name", stored.READERS)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"{}", b"\xff\x00", b"[" * 100_000]
)
def test_damaged_results_are_named_with_the_way_out(name, content, tmp_path):
    path = tmp_path / "m" / "seed_0" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(files.DamagedError, match=rf"{name}: .*evaluate"):
        stored.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\x00"])
def test_damaged_settings_of_the_gaussian_study_are_named(content, tmp_path):
    for name in (gaussian_study.SETTINGS, gaussian_study.ARRAYS):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(files.DamagedError, match=r"\.json: .*remove it"):
        gaussian_study.run(gaussian_study.Settings(), tmp_path, ["teacher_mode"])
