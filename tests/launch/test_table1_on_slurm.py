"""Table 1 at reduced size on a real SLURM that loses jobs: every cell as without."""

import json
import math
import os
import pathlib
import signal
import sys

import pytest

from tests.launch import cluster, harness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ARGUMENTS = [
    *("-s", "arch=maf", "-s", "data=power,bsds300", "-s", "seeds=2"),
    *("-s", "words=smoke", "-o", "train.steps=1000", "-o", "train.eval_every=100"),
]
# What differs from one run to the next by nature.
MEASURED = {"density_ms", "sampling_ms", "density_mib", "sampling_mib"}


def command(root: pathlib.Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "launch.sweep", "table1", "--root", str(root)),
        *(*ARGUMENTS, *more),
    ]


def results(root: pathlib.Path) -> dict[str, dict]:
    """What each point was measured to be, by its place under the root."""
    found = {}
    for path in sorted(root.glob("*/*/results/*/*/result.json")):
        if path.parts[-3] == "training":  # Not a model: distances of data from data.
            continue
        record = json.loads(path.read_text())
        scores = [s for s in record["scores"] if s["metric"] not in MEASURED]
        assert len(scores) >= 5
        found[str(path.relative_to(root))] = record | {"scores": scores}
    return found


def same(one, other, where: str) -> None:
    """Equal, numbers within float error."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            same(one[key], other[key], f"{where}: {key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for a, b in zip(one, other, strict=True):
            same(a, b, where)
    elif isinstance(one, float):
        assert math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-5), (where, one, other)
    else:
        assert one == other, (where, one, other)


def test_every_cell_is_filled_and_equal_to_a_local_run(slurm, tmp_path):
    local, root = tmp_path / "local", tmp_path / "slurm"
    rc, told = harness.run(command(local, "--local"), timeout=1200)
    assert rc == 0, told
    words = command(root, "--slurm", "--wait", "--cpus", "4", "--interval", "1")
    process = harness.start(words, **slurm.env)
    down = []

    def take_the_node_down(row):
        down.append(slurm.call("squeue", "-h", "-j", row["job"], "-o", "%N"))
        update = f"scontrol update nodename={down[0]} reason=test"
        slurm.call(*update.split(), "state=drain")
        slurm.call(*update.split(), "state=down")

    name = "{}-smoke/seed=0+train.eval_every=100+train.steps=1000"
    blows = {
        "maf_power-teacher": lambda row: slurm.call("scancel", "-sUSR2", row["job"]),
        "maf_bsds300-teacher": lambda row: os.kill(row["child"], signal.SIGKILL),
        "maf_power-lkd": lambda row: os.kill(row["pid"], signal.SIGKILL),
        "maf_bsds300-skd": take_the_node_down,
    }
    harness.disturb(
        root,
        {name.format(place): blow for place, blow in blows.items()},
        after=20,
        timeout=1200,
    )
    assert down[0] in cluster.NODES
    slurm.call(*f"scontrol update nodename={down[0]} state=resume".split())
    told, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, told
    undisturbed, found = results(local), results(root)
    assert len(undisturbed) == 20
    same(undisturbed, found, "")
    for place in blows:
        rows = harness.attempts(root, name.format(place))
        assert sum(row["event"] == "start" for row in rows) == 2, (place, rows)
    gather = [*words[:3], "--root", str(root), "--gather"]
    tables = harness.run(gather, timeout=600, **slurm.env)
    assert tables[0] == 0
    assert "missing:" not in tables[1]
