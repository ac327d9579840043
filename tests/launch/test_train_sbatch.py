"""The plain sbatch template: signal, kill and refusal, most of it on a real SLURM."""

import os
import signal

import pytest

from tests.launch import harness

TEMPLATE = "launch/slurm/train.sbatch"


@pytest.fixture
def train(slurm, tmp_path, monkeypatch):
    """Submits the template; the job's id."""
    monkeypatch.setenv("MAIN", harness.MAIN)
    monkeypatch.setenv("FAKE_STEP", "0.1")

    def submit(*more, options=()):
        words = ("--config=configs/maf_gas.py:teacher", f"--workdir={tmp_path}/run")
        told = slurm.call(
            *("sbatch", f"--output={tmp_path}/batch.log", "--cpus-per-task=1"),
            *(*options, TEMPLATE, *words, *more),
        )
        return told.split()[-1]

    return submit


def gone(slurm, job):
    return not slurm.call("squeue", "-h", "-j", job)


def test_a_signal_is_handed_on_and_the_job_queued_again(tmp_path, monkeypatch):
    """With commands in SLURM's place that do what it does for one process."""
    folder, asked = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    for name, does in (
        ("srun", 'while [[ $1 == --* ]]; do shift; done; exec "$@"'),
        ("squeue", "echo RUNNING"),
        ("scontrol", f'echo "$@" >> {asked}'),
    ):
        (folder / name).write_text(f"#!/bin/bash\n{does}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    env = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1", "MAIN": harness.MAIN}
    words = ["bash", TEMPLATE, "--config=configs/maf_gas.py:teacher"]
    words.append(f"--workdir={tmp_path}/run")
    process = harness.start(words, hold=["run"], **env)
    harness.wait_for(lambda: harness.held(tmp_path, "run"), "steps")
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=120)
    assert process.returncode == 75
    assert asked.read_text() == "requeue 1\n"
    assert harness.run(words, 0.0, SLURM_RESTART_COUNT="1", **env)[0] == 0
    assert asked.read_text() == "requeue 1\n"
    assert harness.finished(tmp_path / "run")
    assert harness.steps(tmp_path, "run") == list(range(1, 21))
    told = (tmp_path / "run" / "slurm-1.log").read_text()
    assert "ended with 75, restart 0, asked to stop: 1" in told
    assert "ended with 0, restart 1, asked to stop: no" in told


# In CI the signal is in the test above, the queue in the next.
@pytest.mark.slow
def test_saved_and_requeued(slurm, train, tmp_path):
    run = tmp_path / "run"
    job = train()
    harness.wait_for(lambda: len(harness.steps(tmp_path, "run")) > 6, "steps")
    # What SLURM sends before the time limit: to the batch shell only.
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    harness.wait_for(lambda: gone(slurm, job), "its end")
    assert harness.finished(run), list(run.glob("*.log"))
    assert harness.steps(tmp_path, "run") == list(range(1, 21))
    told = (run / f"slurm-{job}.log").read_text()
    assert "ended with 75, restart 0, asked to stop: 1" in told
    assert "ended with 0, restart 1, asked to stop: no" in told


# In CI a lost process goes on in `test_engine_slurm`.
@pytest.mark.slow
def test_a_lost_process_of_two_nodes(slurm, train, tmp_path):
    run = tmp_path / "run"
    job = train(options=("--nodes=2",))
    harness.wait_for(lambda: len(harness.steps(tmp_path, "run")) > 2, "steps")
    peer = int(harness.wait_for(lambda: (run / "peer").read_text(), "the peer"))
    words = open(f"/proc/{peer}/cmdline").read().split("\0")
    port = 20000 + int(job)
    for word in (f"--coordinator=node1:{port}", "--num_processes=2", "--process_id=1"):
        assert word in words
    os.kill(peer, signal.SIGKILL)
    harness.wait_for(lambda: gone(slurm, job), "its end")
    assert harness.finished(run)
    told = (run / f"slurm-{job}.log").read_text()
    assert "ended with 137, restart 0, asked to stop: no" in told
    assert "ended with 0, restart 1" in told
    assert (run / f"slurm-{job}-1.log").exists()


def test_a_refusal_ends_it(slurm, train, tmp_path):
    job = train("--config.fake.refuse=no")
    harness.wait_for(lambda: gone(slurm, job), "its end")
    told = (tmp_path / "run" / f"slurm-{job}-0.log").read_text()
    assert told == "fdnf: ConfigError: no\n"
    assert "Restarts=0" in slurm.call("scontrol", "show", "job", job)


def test_a_cancelled_job_stays_away(slurm, train, tmp_path):
    job = train("--config.train.steps=300")
    harness.wait_for(lambda: len(harness.steps(tmp_path, "run")) > 2, "steps")
    slurm.call("scancel", job)
    harness.wait_for(lambda: gone(slurm, job), "its end")
    assert "JobState=CANCELLED" in slurm.call("scontrol", "show", "job", job)


@pytest.mark.parametrize(
    ("env", "words", "told"),
    [
        ({}, (), "give --workdir=DIR"),
        ({"PER": "gpu"}, ("--workdir=run",), "equal to the GPUs of a node"),
        ({"PER": "core"}, ("--workdir=run",), "expected node or gpu"),
    ],
)
def test_wrong_use(env, words, told, tmp_path):
    env = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1", **env}
    template = harness.REPOSITORY / TEMPLATE
    rc, output = harness.run(["bash", str(template), *words], cwd=tmp_path, **env)
    logs = "".join(p.read_text() for p in tmp_path.glob("run/*.log"))
    assert rc == 2
    assert told in output + logs
