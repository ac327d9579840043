"""Files that are whole or not there, strict JSON, and text in any locale."""

import json
import math
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from fdnf import files


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
    with pytest.raises(files.DamagedError, match=r"file\.json .*: make it again"):
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
