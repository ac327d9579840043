"""Texts that enter the scripts of a cluster cannot end a line of them."""

import os
import pathlib
import subprocess

import pytest

from launch import engine_slurm
from launch.display import Display
from launch.engine_slurm import Resources, SlurmEngine
from launch.folder import Folder
from launch.points import Point, SweepError, one_line
from tests.launch import harness

# A shell that is given this line by line makes a file.
EVIL = "x\ntouch pwned\n#"
CONTROLS = ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\udcff"]


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """An sbatch that keeps the script, and a queue that is empty; what is kept."""
    folder, script = tmp_path / "bin", tmp_path / "script"
    folder.mkdir()
    for name, does in (
        ("sbatch", f'cp "$1" {script}; echo Submitted batch job 7'),
        ("squeue", "true"),
        ("srun", "true"),
    ):
        (folder / name).write_text(f"#!/bin/bash\n{does}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return script


def submitted(sweep, root, *more):
    """Submits, and runs the script as a shell would; whether a command slipped in."""
    words = harness.command(sweep, root, "--slurm", "--cpus", "1", *more)
    return harness.run(words)


def runs_nothing_else(script, cwd):
    if script.exists():
        subprocess.run(["bash", str(script)], cwd=cwd, check=False)
    return not (cwd / "pwned").exists()


@pytest.mark.parametrize("where", ["root", "name", "partition", "sbatch", "setup"])
def test_a_newline_runs_no_command(where, sbatch, sweep, tmp_path):
    root, more = tmp_path / "root", []
    if where == "root":
        root = tmp_path / EVIL
    elif where == "name":
        sweep = sweep.rename(sweep.with_name(f"{EVIL}.py"))
    elif where == "setup":
        more = ["--setup", f"module load {EVIL}"]
    else:
        given = f"comment={EVIL}" if where == "sbatch" else EVIL
        more = [f"--{where}", given]
    rc, told = submitted(sweep, root, *more)
    assert runs_nothing_else(sbatch, tmp_path)
    assert rc == 2
    assert "control characters" in told
    assert "Traceback" not in told


def test_what_is_no_option_is_none(sbatch, sweep, tmp_path):
    rc, told = submitted(sweep, tmp_path / "root", "--sbatch", "x --wrap=y=z")
    assert rc == 2
    assert "expected the name of an option of sbatch" in told
    assert not sbatch.exists()


def test_quotes_and_spaces_stay_what_they_are(sbatch, sweep, tmp_path):
    root = tmp_path / "a 'b\" $(touch pwned) ; touch pwned"
    more = ("--partition", "a; touch pwned", "--sbatch", "comment=it's $(touch pwned)")
    rc, told = submitted(sweep, root, *more)
    assert rc == 75, told
    assert runs_nothing_else(sbatch, tmp_path)
    assert "#SBATCH" in sbatch.read_text()


def test_a_name_of_any_letters_names_jobs_plainly(sbatch, sweep, tmp_path):
    named = sweep.rename(sweep.with_name('a|b c"d.py'))
    rc, told = submitted(named, tmp_path / "root")
    assert rc == 75, told
    (line,) = [s for s in sbatch.read_text().splitlines() if "--job-name" in s]
    assert line.startswith("#SBATCH --job-name=a-b-c-d.")


@pytest.mark.parametrize("bad", CONTROLS)
def test_control_characters_are_refused_where_they_enter(bad, tmp_path, monkeypatch):
    text = f"a{bad}b"
    with pytest.raises(SweepError, match="control characters"):
        one_line(text, "it")
    for made in (
        lambda: Folder(text),
        lambda: Point(f"c.py:{text}"),
        lambda: Point("c.py", {text: 1}),
        lambda: Point("c.py", {"data.args": {"path": (text,)}}),
        lambda: Resources(account=text),
        lambda: Resources(setup=(text,)),
        lambda: Resources(sbatch={"comment": text}),
    ):
        with pytest.raises(SweepError, match="control characters"):
            made()
    with pytest.raises(SweepError, match="expected the name of an option"):
        Resources(sbatch={"a=b": 1})


def test_letters_of_all_languages_pass():
    assert one_line("runs/Größe 数 'a'", "it") == "runs/Größe 数 'a'"


@pytest.mark.parametrize("bad", ["a[b]", "a*", "a?", "a\\b"])
def test_a_root_that_checkpoints_cannot_have(bad, tmp_path):
    with pytest.raises(SweepError, match="cannot be read below: give another --root"):
        Folder(tmp_path / bad)


def test_a_root_of_slurms_patterns(tmp_path):
    folder = Folder(tmp_path / "a%j")
    with pytest.raises(SweepError, match="which SLURM replaces"):
        SlurmEngine(folder, "s", [], Resources(), Display())
    assert engine_slurm.minutes("1") == 1


def test_the_home_directory_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Folder("~/runs").path == tmp_path / "runs"
    assert pathlib.Path(Folder("~/runs").root).is_absolute()


@pytest.mark.parametrize("bad", ["a\nb", "a%j", "a\\b"])
def test_the_template_refuses_a_workdir(bad, tmp_path):
    words = ["bash", str(harness.REPOSITORY / "launch/slurm/train.sbatch")]
    env = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1"}
    rc, told = harness.run([*words, f"--workdir={bad}"], cwd=tmp_path, **env)
    assert rc == 2
    assert "--workdir has" in told
    assert not list(tmp_path.iterdir())
