import importlib.util

import pytest

from fdnf.data.builders import stock
from fdnf.data.tabular import DataError


def test_without_tensorflow_nothing_is_downloaded(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(stock.tfds, "builder", None)
    assert stock.main(["mnist"]) == 1
    assert "fdnf[prepare]" in capsys.readouterr().err


class Builder:
    def __init__(self, name, data_dir, file_format):
        self.data_dir = data_dir / name
        assert file_format == "array_record"

    def download_and_prepare(self, download_config):
        Builder.manual = download_config.manual_dir
        if Builder.fails:
            raise ConnectionError("no route")


@pytest.fixture
def tensorflow(monkeypatch):
    """As if it were installed, with a builder that does not need it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(stock.tfds, "builder", Builder)
    Builder.fails = False


def test_prepared_where_it_is_found_again(tensorflow, tmp_path, cache, capsys):
    assert stock.main(["celeb_a", "--manual_dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(cache / "tfds" / "celeb_a")
    assert Builder.manual == tmp_path
    stock.prepare("mnist")
    assert Builder.manual is None


def test_failure_says_where_files_go(tensorflow, cache):
    Builder.fails = True
    with pytest.raises(DataError, match=f"no route\nFiles put into {cache / 'manual'}"):
        stock.prepare("cifar10")


def test_unknown_name():
    with pytest.raises(DataError, match="Unknown set 'cifar11'; known: cifar10, mnist"):
        stock.prepare("cifar11")
