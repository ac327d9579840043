import io
import tarfile
import zipfile

import numpy as np
import pytest

from fdnf.data import paths
from fdnf.data.builders import div2k, encoded, ljspeech
from fdnf.data.tabular import DataError
from tests.data import pictures, recorded


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No network."""

    def fetch(urls, path, sha256=None, most=None):
        if not path.is_file():
            raise DataError(f"no network to get {urls[0]} to {path}")

    monkeypatch.setattr(encoded.download, "fetch", fetch)


@pytest.fixture
def small(monkeypatch):
    """Declares archives as small as those of the tests."""

    def declare(kind, **counts):
        for split, count in counts.items():
            archive = kind.ARCHIVES[split]._replace(count=count, size=None)
            monkeypatch.setitem(kind.ARCHIVES, split, archive)

    return declare


def png(value):
    return pictures.encode(np.full((8, 8 + value, 3), value, np.uint8))


def write_zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def write_tar(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
            else:
                info.size = len(content)
            file.addfile(info, io.BytesIO(content or b""))


def write_div2k(manual):
    train = {f"DIV2K_train_HR/{i:04}.png": png(i) for i in (2, 1, 3)}
    other = {"DIV2K_train_HR/": b"", "other/0009.png": b"x", "DIV2K_train_HR/a": b"x"}
    write_zip(manual / "DIV2K_train_HR.zip", {**other, **train})
    write_zip(manual / "DIV2K_valid_HR.zip", {"DIV2K_valid_HR/0801.png": png(9)})


def read(directory, split):
    source = encoded.source(directory, split)
    return {bytes(source[i]["name"]): source[i] for i in range(len(source))}


def test_zip_archives_become_a_set_in_the_order_of_names(tmp_path, small):
    small(div2k.Div2kHr, train=3, validation=1)
    write_div2k(tmp_path / "manual")
    directory = encoded.prepare(div2k.Div2kHr, str(tmp_path))
    examples = read(directory, "train")
    assert list(examples) == [b"0001.png", b"0002.png", b"0003.png"]
    # The files themselves, not images made from them.
    assert examples[b"0002.png"]["image"] == png(2)
    assert list(read(directory, "validation")) == [b"0801.png"]
    (tmp_path / "manual" / "DIV2K_train_HR.zip").unlink()
    assert encoded.prepare(div2k.Div2kHr, str(tmp_path)) == directory


@pytest.mark.parametrize("top", ["Flickr2K/Flickr2K_HR", "Flickr2K_HR"])
def test_tar_archive_and_unpacked_folder_give_the_same(tmp_path, small, top):
    small(div2k.Flickr2kHr, train=2)
    members = {f"{top}/{i:06}.png": png(i) for i in (1, 2)}
    bicubic = {"Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png": b"x"}
    (archive,) = div2k.Flickr2kHr.ARCHIVES.values()
    write_tar(tmp_path / archive.file, members | bicubic)
    for name, content in members.items():
        path = tmp_path / "other" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    expected = [("000001.png", png(1)), ("000002.png", png(2))]
    assert list(encoded.contents(tmp_path, archive)) == expected
    assert list(encoded.contents(tmp_path / "other", archive)) == expected
    manual = paths.manual_dir(str(tmp_path), div2k.Flickr2kHr.files())
    div2k.Flickr2kHr.obtain(tmp_path / "other")
    with pytest.raises(DataError, match="no network to get https://cv.snu.ac.kr"):
        div2k.Flickr2kHr.obtain(manual)


def test_compressed_tar_of_recordings(tmp_path, small):
    small(ljspeech.LjspeechWav, train=2)
    clips = {f"LJ001-000{i}": recorded.clip(i, 50 + i) for i in (1, 2)}
    members = {
        f"LJSpeech-1.1/wavs/{name}.wav": recorded.encode(clip)
        for name, clip in clips.items()
    }
    members |= {"LJSpeech-1.1/metadata.csv": b"LJ001-0001|a|a", "LJSpeech-1.1/e": None}
    archive = tmp_path / "manual" / "LJSpeech-1.1.tar.bz2"
    write_tar(archive, members, "w:bz2")
    examples = read(encoded.prepare(ljspeech.LjspeechWav, str(tmp_path)), "train")
    assert [example["length"] for example in examples.values()] == [51, 52]
    content = examples[b"LJ001-0002.wav"]["file"].tobytes()
    assert content == members["LJSpeech-1.1/wavs/LJ001-0002.wav"]


def test_links_and_strange_paths_are_not_followed(tmp_path):
    (archive,) = div2k.Flickr2kHr.ARCHIVES.values()
    members = {
        "Flickr2K_HR/000001.png": None,
        "../../Flickr2K_HR/000002.png": png(2),
        "Flickr2K_HR/../000003.png": png(3),
    }
    write_tar(tmp_path / archive.file, members)
    assert list(encoded.contents(tmp_path, archive)) == [("000002.png", png(2))]
    assert [path.name for path in tmp_path.iterdir()] == [archive.file]


def test_archive_that_is_not_whole(tmp_path, small):
    small(div2k.Div2kHr, train=4, validation=1)
    write_div2k(tmp_path / "manual")
    with pytest.raises(DataError, match="DIV2K_train_HR.zip: 3 files .* are 4"):
        encoded.prepare(div2k.Div2kHr, str(tmp_path))
    assert not list((paths.cache_dir() / "tfds").glob("div2k_hr/1*"))


def test_archive_that_is_cut_short(tmp_path, small):
    small(div2k.Div2kHr, train=3, validation=1)
    write_div2k(tmp_path / "manual")
    path = tmp_path / "manual" / "DIV2K_train_HR.zip"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="DIV2K_train_HR.zip is damaged"):
        encoded.prepare(div2k.Div2kHr, str(tmp_path))


def test_size_tells_before_the_checksum(tmp_path):
    write_div2k(tmp_path)
    with pytest.raises(DataError, match="bytes, published are 3,530,603,713"):
        div2k.Div2kHr.obtain(tmp_path)


@pytest.mark.parametrize(
    ("kind", "folder", "content", "text"),
    [
        (div2k.Flickr2kHr, "Flickr2K_HR/000001.png", b"<html>", "it is no PNG file"),
        (ljspeech.LjspeechWav, "wavs/LJ001-0001.wav", b"<html>", "is no WAV file"),
        (
            ljspeech.LjspeechWav,
            "wavs/LJ001-0001.wav",
            recorded.encode([1, 2], rate=16_000),
            "it has 16000 samples a second",
        ),
    ],
)
def test_file_of_another_form(tmp_path, small, kind, folder, content, text):
    small(kind, train=1)
    write_tar(tmp_path / "manual" / kind.ARCHIVES["train"].file, {folder: content})
    with pytest.raises(DataError, match=text) as caught:
        encoded.prepare(kind, str(tmp_path))
    assert folder in str(caught.value)


def test_absent_archive_says_what_runs_without(tmp_path):
    with pytest.raises(DataError, match="DIV2K has to be prepared first. no network"):
        encoded.prepare(div2k.Div2kHr, str(tmp_path))
    with pytest.raises(DataError, match="'photographs' is super-resolution"):
        encoded.prepare(div2k.Flickr2kHr, str(tmp_path))


def test_damaged_set_says_to_prepare_it_again(tmp_path):
    with pytest.raises(DataError, match="does not read.*prepare the set again"):
        encoded.source(tmp_path, "train")


@pytest.mark.parametrize("kind", [div2k.Div2kHr, div2k.Flickr2kHr])
def test_published_counts(kind):
    counts = {split: archive.count for split, archive in kind.ARCHIVES.items()}
    assert counts in ({"train": 800, "validation": 100}, {"train": 2650})


@pytest.mark.parametrize("kind", [div2k.Div2kHr, ljspeech.LjspeechWav])
def test_checksums_are_those_that_tfds_registers(kind):
    tfds = pytest.importorskip("tensorflow_datasets")
    name = {"DIV2K": "div2k", "LJSpeech": "ljspeech"}[kind.TITLE]
    file = tfds.core.tfds_path() / "datasets" / name / "checksums.tsv"
    if not file.exists():
        pytest.skip(f"this TFDS has no {file}")
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    registered = {line[0]: (int(line[1]), line[2]) for line in lines}
    for archive in kind.ARCHIVES.values():
        assert registered[archive.urls[0]] == (archive.size, archive.sha256)
