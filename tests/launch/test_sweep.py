"""The command line of sweeps, where it starts nothing."""

import json
import subprocess
import sys
import types

import pytest

from fdnf.evaluation.report import __main__ as report
from launch import engine_slurm, sweep
from launch.points import SweepError
from tests.launch import harness


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Calls the command line: `(exit status, output, messages)`."""
    monkeypatch.chdir(harness.REPOSITORY)

    def call(*words):
        rc = sweep.main([*words, "--root", str(tmp_path / "root")])
        captured = capsys.readouterr()
        return rc, captured.out, captured.err

    return call


def test_a_dry_run_prints_commands_in_order_and_writes_nothing(call, tmp_path):
    values = ("seeds=2", "arch=maf", "data=gas", "methods=skd")
    arguments = [word for value in values for word in ("-s", value)]
    rc, told, _ = call("table1", *arguments, "-o", "train.steps=7")
    assert rc == 0
    lines = told.splitlines()
    assert lines[0] == "# 0: maf_gas-teacher (2 points), in one process"
    assert lines[3] == "# 1: maf_gas-skd (2 points), in one process, after 0"
    assert lines[4] == (
        "python -m fdnf.main --mode=single --config=configs/maf_gas.py:skd"
        f" --workdir={tmp_path}/root/maf_gas-skd/seed=0+train.steps=7"
        " --config.seed=0 --config.teacher.workdir="
        f"{tmp_path}/root/maf_gas-teacher/seed=0+train.steps=7"
        " --config.train.steps=7"
    )
    assert lines[-1].startswith("# 4 of 4 points in 2 processes; 4 waiting; nothing")
    assert not (tmp_path / "root").exists()
    rc, told, _ = call("table1", *arguments, "--pack", "1", "--dry-run")
    assert "in 4 processes" in told
    assert "1 point, after 0" in told


def test_help_lists_the_sweeps(call):
    rc, told, _ = call("--help")
    assert rc == 0
    assert "table1: Table 1 of Walton" in told
    assert "ilkd=0.01,0.1,1.0,10.0" in told
    rc, told, _ = call("density", "--help")
    assert "Parallel WaveNet" in told
    assert "table1:" not in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table9"], "no sweep 'table9': known are density"),
        (["table1", "--set", "seed=3"], "table1 takes arch=maf,glow"),
        (["table1", "--pack", "0"], "expected auto or a number"),
        (["table1", "--jobs", "0"], "--jobs must be 1 or more"),
        (["table1", "-s", "data=nosuch"], "no config file configs/glow_nosuch.py"),
        (["--status"], "no sweep.json"),
        (["--status", "-s", "seeds=1"], "need the name of a sweep"),
        (["table1", "--slurm", "--time", "soon"], "--time soon: expected minutes"),
        (["table1", "--slurm", "--sbatch", "qos"], "expected KEY=VALUE"),
    ],
)
def test_wrong_use(call, words, told):
    rc, _, message = call(*words)
    assert rc == 2
    assert message.startswith("sweep: ")
    assert told in message


def test_without_a_root(capsys):
    assert sweep.main(["table1"]) == 2
    assert "--root DIR is needed" in capsys.readouterr().err


def test_slurm_is_only_used_from_the_repository(call, tmp_path, monkeypatch):
    path = harness.write_sweep(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(harness.REPOSITORY / "configs")
    rc, _, message = call(str(path), "--slurm")
    assert rc == 2
    assert "run from the repository's root" in message


@pytest.fixture
def reported(monkeypatch):
    """Directories of which a report was written, in this process."""
    found = []

    def run(words, check):
        assert words[:3] == [sys.executable, "-m", "fdnf.evaluation.report"]
        found.append(words[3])
        return subprocess.CompletedProcess(words, report.main(words[3:]))

    monkeypatch.setattr(sweep, "subprocess", types.SimpleNamespace(run=run))
    return found


def test_status_and_gather_name_what_is_missing(call, tmp_path, reported):
    path = harness.write_sweep(tmp_path)
    words = harness.command(path, tmp_path / "root", "--local", "-s", "seeds=1")
    assert harness.run(words, 0.0)[0] == 0
    (tmp_path / "root" / "student0" / "finished.json").unlink()
    rc, told, _ = call("--status", "--json")
    assert rc == 1
    assert [state["state"] for state in json.loads(told)] == ["done", "failed"]
    assert call("--gather")[0] != 0
    assert reported == [str(tmp_path / "root")]
    # The report goes by these.
    found = json.loads((tmp_path / "root" / "states.json").read_text())["points"]
    assert found == json.loads(told)
    assert found[1]["detail"] == "ended well, but without a result"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("240", 240),
        ("90:30", 91),
        ("1:30:00", 90),
        ("2-0", 2880),
        ("1-2:30", 1590),
        ("0-0:0:1", 1),
        ("0", 1),
    ],
)
def test_times(text, minutes):
    assert engine_slurm.minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "x", "1:x", "1-", "-5"])
def test_wrong_times(text):
    with pytest.raises(SweepError, match="expected minutes"):
        engine_slurm.minutes(text)


def test_resources_as_submitit_names_them():
    resources = engine_slurm.Resources(gpus=2, cpus=8, sbatch={"qos": "high"})
    found = resources.parameters()
    assert found["gpus_per_node"] == 2
    assert found["slurm_srun_args"] == ["--cpus-per-task=8"]
    assert found["slurm_additional_parameters"] == {
        "requeue": True,
        "kill-on-invalid-dep": "yes",
        "qos": "high",
    }
    assert "slurm_partition" not in found
    assert "mem_gb" not in found
