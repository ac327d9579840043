"""The README's Python blocks run as they stand; paths and links of all pages exist.

The page of configs has each of them, with the words that it knows and no others.
"""

import importlib
import pathlib
import re
import shlex

import jax
import numpy as np
import pytest

from fdnf.train import settings
from tests import test_configs

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "configs/README.md", "configs/RESULTS.md", "launch/README.md")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_there_are_blocks_to_run():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Files that it writes.
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    if "grads" in names:
        assert np.isfinite(names["loss"])
        assert any(np.any(leaf) for leaf in jax.tree.leaves(names["grads"]))
    if "student" in names and "teacher" in names and "grads" not in names:
        kept = names["fdnf"].load("student.npz").log_prob(names["x"])
        assert np.array_equal(kept, names["student"].log_prob(names["x"]))
    if "samples" in names:
        assert names["samples"].shape == (1000, 8)


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(text):
    """As a page's headings are linked to."""
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page):
    paths = set(re.findall(r"\b(?:fdnf|configs|launch)/[\w/]+\.\w+\b", text_of(page)))
    assert paths
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_front_door_is_short():
    assert len(TEXT.splitlines()) <= 250


def commands():
    """File, variant and the values given, of every command in pages and configs."""
    files = ROOT.glob("configs/*.py")
    sources = [path.read_text(encoding="utf-8") for path in files]
    sources += [text_of(page) for page in PAGES]
    word = r"--[\w.]+(?:=(?:\"[^\"]*\"|\S+))?"
    pattern = rf"--config=configs/(\w+)\.py:?([\w,=.]*)((?:\s+{word})*)"
    for source in sources:
        lines = re.sub(r"\s*\\?\n(?!\n)\s*", " ", source)
        for file, arg, rest in re.findall(pattern, lines):
            words = shlex.split(rest.replace("`", "").rstrip(".,;)"))
            given = [w for w in words if w.startswith("--config.")]
            yield pytest.param(file, arg.rstrip(",."), given, id=f"{file}:{arg}"[:40])


@pytest.mark.parametrize(("file", "arg", "given"), list(commands()))
def test_commands_pass_the_checks(file, arg, given):
    config = importlib.import_module(f"configs.{file}").get_config(arg).lock()
    rest, values = settings.split_flags(given)
    for item in rest:
        key, _, value = item.removeprefix("--config.").partition("=")
        values[key] = settings.read_value(value.strip())
    settings.override(config, values)
    settings.check(config)


def test_there_are_commands():
    assert len(list(commands())) > 50


def described():
    """Name, words, minutes and memory of each config that the page of configs lists."""
    for section in text_of("configs/README.md").split("\n## ")[1:]:
        words = set()
        for line in re.findall(r"^\| (`.*)\|$", section, flags=re.MULTILINE):
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 2:
                words |= {*re.findall(r"`([^`]+)`", cells[0])}
                continue
            name, _, *needs = cells[:4]
            more = {*re.findall(r"`([^`]+)`", cells[4])} if len(cells) > 4 else set()
            yield name.strip("`"), words | more, needs


def test_the_page_of_configs_is_whole():
    found = list(described())
    names = [*test_configs.NAMES, "recipes", "table"]
    assert sorted(name for name, *_ in found) == sorted(names)
    for name, words, needs in found:
        assert words == {*test_configs.words_of(name)}, name
        assert all(needs), name


def test_a_config_of_your_own():
    page = text_of("configs/README.md")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(compile(block, "configs/README.md", "exec"), names)
    settings.check(names["get_config"]("ilkd").lock())
