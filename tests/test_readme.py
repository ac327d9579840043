"""The README's Python blocks run as they stand; paths and links of all pages exist."""

import pathlib
import re

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "configs/README.md", "configs/RESULTS.md", "launch/README.md")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_there_are_blocks_to_run():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(block):
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    if "grads" in names:
        assert np.isfinite(names["loss"])
        assert any(np.any(leaf) for leaf in jax.tree.leaves(names["grads"]))
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
