"""launch/local.sh: one machine, several processes, kills and signals."""

import os
import signal

import pytest

from tests.launch import harness


def words(tmp_path, *more):
    return [
        str(harness.REPOSITORY / "launch" / "local.sh"),
        "--config=configs/maf_gas.py:teacher",
        f"--workdir={tmp_path}/run",
        *more,
    ]


ENV = {"MAIN": harness.MAIN, "CUDA_VISIBLE_DEVICES": ""}


def test_a_crash_is_tried_again(tmp_path):
    rc, told = harness.run(words(tmp_path, "--config.fake.crash_at=7"), **ENV)
    assert rc == 0, told
    assert "ended with 137" in told
    assert harness.steps(tmp_path, "run") == list(range(1, 21))


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_signal_saves_and_ends_it(tmp_path, processes):
    env = {**ENV, "PROCESSES": processes}
    process = harness.start(words(tmp_path), hold=["run"], **env)
    harness.wait_for(lambda: harness.held(tmp_path, "run"), "steps")
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 75, told
    assert not harness.finished(tmp_path / "run")
    assert harness.run(words(tmp_path), 0.0, **env)[0] == 0
    assert harness.steps(tmp_path, "run") == list(range(1, 21))


def test_processes_know_of_each_other_and_have_a_gpu_each(tmp_path):
    env = {**ENV, "PER": "gpu", "CUDA_VISIBLE_DEVICES": "4,7"}
    process = harness.start(words(tmp_path), hold=["run"], **env)
    path = tmp_path / "run" / "peer"
    harness.wait_for(lambda: path.exists() and path.read_text(), "the second process")
    peer = int(path.read_text())
    given = open(f"/proc/{peer}/cmdline").read().split("\0")
    assert {"--num_processes=2", "--process_id=1"} <= set(given)
    assert "CUDA_VISIBLE_DEVICES=7" in open(f"/proc/{peer}/environ").read().split("\0")
    os.kill(peer, signal.SIGKILL)
    harness.let_go(tmp_path, "run")
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "ended with 137" in told


def test_a_refusal_is_not_tried_again(tmp_path):
    rc, told = harness.run(words(tmp_path, "--config.fake.refuse=no"), **ENV)
    assert (rc, told) == (2, "fdnf: ConfigError: no\n")


def test_no_gpu(tmp_path):
    rc, told = harness.run(words(tmp_path), **{**ENV, "PER": "gpu"})
    assert rc == 2
    assert "no GPU is visible" in told
