"""The README's Python blocks run as they stand, and its paths exist."""

import pathlib
import re

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
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


def test_paths_exist():
    paths = set(re.findall(r"\b(?:fdnf|configs)/[\w/]+\.py\b", TEXT))
    assert paths
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing
