import collections
import io
import os
import stat
import tarfile
import zipfile

import pytest

from fdnf.data import archives
from fdnf.data.tabular import DataError

CONTENT = b"rows" * 10_000
Usage = collections.namedtuple("Usage", ["total", "used", "free"])


def tar(path, *members):
    with tarfile.open(path, "w:gz") as file:
        for info, content in members:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def written(directory, kind, name, content):
    """An archive with one member."""
    path = directory / f"a.{kind}"
    if kind == "tar.gz":
        return tar(path, (tarfile.TarInfo(name), content))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return path


KINDS = pytest.mark.parametrize("kind", ["tar.gz", "zip"])


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out" / "file"


def test_tar_member(tmp_path, target):
    members = [(tarfile.TarInfo("./a/b.txt"), CONTENT), (tarfile.TarInfo("c"), b"no")]
    archive = tar(tmp_path / "a.tar.gz", *members)
    assert archives.extract_member(archive, "a/b.txt", target).read_bytes() == CONTENT
    assert os.listdir(target.parent) == ["file"]


def test_zip_member(tmp_path, target):
    archive = written(tmp_path, "zip", "a/b.txt", CONTENT)
    assert archives.extract_member(archive, "a/b.txt", target).read_bytes() == CONTENT


def test_hostile_name_is_only_a_name(tmp_path, target):
    archive = tar(tmp_path / "a.tar.gz", (tarfile.TarInfo("../../evil"), CONTENT))
    with pytest.raises(DataError, match="has no member 'evil'; it has: ../../evil"):
        archives.extract_member(archive, "evil", target)
    archives.extract_member(archive, "../../evil", target)
    assert os.listdir(target.parent) == ["file"]
    assert sorted(os.listdir(tmp_path)) == ["a.tar.gz", "out"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_tar_link_is_refused(tmp_path, target, kind):
    archive = tar(tmp_path / "a.tar.gz", link("a", "/etc/passwd", kind))
    with pytest.raises(DataError, match="link or no regular file"):
        archives.extract_member(archive, "a", target)
    assert os.listdir(target.parent) == []


def test_zip_link_is_refused(tmp_path, target):
    info = zipfile.ZipInfo("a")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link or no regular file"):
        archives.extract_member(tmp_path / "a.zip", "a", target)
    assert os.listdir(target.parent) == []


@KINDS
def test_absent_member(tmp_path, target, kind):
    with pytest.raises(DataError, match="no member 'a'; it has: b"):
        archives.extract_member(written(tmp_path, kind, "b", b""), "a", target)


@KINDS
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
def test_truncated_archive_leaves_no_file(tmp_path, target, kind, keep):
    archive = written(tmp_path, kind, "a", os.urandom(50_000))
    archive.write_bytes(archive.read_bytes()[: int(keep * 50_000)])
    with pytest.raises(DataError, match="damaged"):
        archives.extract_member(archive, "a", target)
    assert os.listdir(target.parent) == []
    with pytest.raises(DataError, match="is damaged: .* get it again"):
        dict(archives.members(archive, lambda name: True))


@KINDS
def test_members_are_read_by_their_names(tmp_path, kind):
    archive = written(tmp_path, kind, "a/b.txt", CONTENT)
    assert dict(archives.members(archive, str.isupper)) == {}
    found = archives.members(archive, lambda name: name.endswith(".txt"))
    assert dict(found) == {"a/b.txt": CONTENT}


def test_absent_archive(tmp_path, target):
    with pytest.raises(DataError, match="No such file"):
        archives.extract_member(tmp_path / "none.zip", "a", target)


@KINDS
def test_member_larger_than_the_disk_has_room(tmp_path, target, monkeypatch, kind):
    archive = written(tmp_path, kind, "b", CONTENT)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: Usage(9, 0, 9))
    with pytest.raises(DataError, match="announces 40,000 bytes; on the disk are 9 fr"):
        archives.extract_member(archive, "b", target)
    assert os.listdir(target.parent) == []


def test_member_with_a_password(tmp_path, target):
    archive = written(tmp_path, "zip", "b", CONTENT)
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="Cannot read 'b' .*password"):
        archives.extract_member(archive, "b", target)
