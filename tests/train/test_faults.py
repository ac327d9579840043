"""Kills at random moments, and disks that are full."""

import contextlib
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from fdnf.train import checkpoint, loop, stored, workdirs
from fdnf.train.writers import read_log
from tests import processes, tiny

# Saves take about as long as the steps between them.
OFTEN = processes.SMALL | {
    "train.steps": 200,
    "train.steps_per_call": 5,
    "train.log_every": 5,
    "train.eval_every": 20,
}


def saving(workdir):
    """Whether orbax has a half-written checkpoint there."""
    directory = workdir / checkpoint.SUBDIRECTORY
    return any(directory.glob("*orbax-checkpoint-tmp*"))


def killed(workdir, messages, overrides, rng, aimed):
    """Kills the command after some progress; whether a save was under way.

    Args:
      workdir: of the run.
      messages: gets its stderr.
      overrides: of its config.
      rng: draws the moment.
      aimed: whether to wait until a save is under way, or until none is.
    """
    log = workdir / "log.jsonl"
    before = log.stat() if log.exists() else None

    def resumed():
        # The log is cut and written anew when training goes on.
        return log.exists() and (before is None or log.stat().st_ino != before.st_ino)

    with processes.started(
        f"--workdir={workdir}", messages=messages, overrides=overrides, devices=2
    ) as run:
        processes.until(resumed, [run])
        rows = processes.rows(workdir)
        more = rng.randrange(4, 12)
        processes.until(lambda: processes.rows(workdir) > rows + more, [run])
        time.sleep(rng.uniform(0, 0.02))
        stop_when(lambda: saving(workdir) == aimed, run)
        run.signal(signal.SIGKILL)
        assert run.ended() == -signal.SIGKILL, "it ended before it was killed"
    return saving(workdir)


def stop_when(happens, run):
    """Stops a process while something holds, and lets it run on if it came too late."""
    stat = pathlib.Path(f"/proc/{run.process.pid}/stat")

    def stopped():
        return stat.read_text().rpartition(")")[2].split()[0] in "TZ"

    while True:
        processes.until(happens, [run], pause=0)
        run.signal(signal.SIGSTOP)
        processes.until(stopped, [run])
        if happens():
            return
        run.signal(signal.SIGCONT)


def kills(tmp_path, unbroken, count, overrides, seed):
    """Kills and resumes so often; how many kills came while a save was under way."""
    workdir, config = tmp_path / "killed", processes.config(overrides)
    rng = random.Random(seed)
    during_saves, chosen = 0, []
    for i in range(count):
        during_saves += killed(
            workdir, tmp_path / "stderr", overrides, rng, aimed=i % 2 == 0
        )
        assert not (workdir / workdirs.FINISHED).exists()
        # What there is under a final name is whole, or nothing at all is there.
        directory = workdir / checkpoint.SUBDIRECTORY
        if stored.steps(directory):
            newest, _, _, broken = stored.newest(directory, ("state", "best"))
            assert not broken
            assert read_log(workdir)[-1]["step"] >= newest
            chosen.append(newest)
    assert chosen == sorted(chosen)
    assert count == 1 or len(set(chosen)) > 1
    loop.train_and_evaluate(config, workdir)
    rows = read_log(workdir)
    assert [row["step"] for row in rows] == list(
        range(config.train.log_every, config.train.steps + 1, config.train.log_every)
    )
    tiny.same_rows(rows, read_log(unbroken))
    tiny.same_best(workdir, unbroken)
    trees = [
        stored.one(path / checkpoint.SUBDIRECTORY, config.train.steps, ("state",))
        for path in (workdir, unbroken)
    ]
    np.testing.assert_equal(*trees)
    return during_saves


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    loop.train_and_evaluate(processes.config(OFTEN), workdir)
    return workdir


def test_a_kill_while_a_checkpoint_is_written(unbroken, tmp_path):
    assert kills(tmp_path, unbroken, 1, OFTEN, seed=1) == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path):
    long, unbroken = OFTEN | {"train.steps": 8000}, tmp_path / "unbroken"
    loop.train_and_evaluate(processes.config(long), unbroken)
    begun = time.monotonic()
    during = kills(tmp_path, unbroken, 100, long, seed=0)
    print(
        f"100 kills, {during} during saves, {100 - during} during steps, "
        f"{time.monotonic() - begun:.0f} s"
    )
    assert 20 <= during <= 80


@contextlib.contextmanager
def small_disk(path: pathlib.Path, size: str):
    """A file system of its own; skips where mounting is not allowed."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def ends_with_2(workdir, messages, fill=None, direct=False):
    """Runs the command until its disk is full; what it says, and its last checkpoint.

    Args:
      workdir: of the run.
      messages: gets its stderr.
      fill: called with its process id after the first save, to fill it.
      direct: whether its stderr has no room either.
    """
    saved = workdir / checkpoint.SUBDIRECTORY
    with processes.started(
        f"--workdir={workdir}",
        messages=messages,
        overrides=OFTEN,
        devices=2,
        direct=direct,
    ) as run:
        if fill:
            processes.until(lambda: bool(stored.steps(saved)), [run])
            fill(run.process.pid)
        assert run.ended() == 2, run.stderr()
    assert not (workdir / workdirs.FINISHED).exists()
    newest, _, _, broken = stored.newest(saved, ("state", "best"))
    assert broken == []
    assert newest >= 20
    return run.stderr(), saved / str(newest)


def names(says, path):
    """Asserts that the newest whole checkpoint is named."""
    named = re.findall(r"[Ll]ast good checkpoint(?: is|:) (\S+?)\. Make room", says)
    assert named, says
    assert set(named) == {str(path)}


def goes_on(workdir, unbroken):
    loop.train_and_evaluate(processes.config(OFTEN), workdir)
    tiny.same_rows(read_log(workdir), read_log(unbroken))
    tiny.same_best(workdir, unbroken)


# A checkpoint that finds no room is in `test_checkpoint`, too.
@pytest.mark.parametrize(
    "what", [pytest.param("checkpoint", marks=pytest.mark.slow), "log and message"]
)
def test_no_room_for_a_file(what, unbroken, tmp_path):
    workdir = tmp_path / "run"
    files = (unbroken / "checkpoints" / "200").rglob("*")
    largest = max(path.stat().st_size for path in files)

    def fill(pid):
        log = (workdir / "log.jsonl").stat().st_size
        limit = largest - 1 if what == "checkpoint" else log + 300
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))

    direct = what != "checkpoint"
    says, path = ends_with_2(workdir, tmp_path / "stderr", fill, direct)
    if not direct:
        names(says, path)
    goes_on(workdir, unbroken)


# In CI a log finds no room, above, and a checkpoint in `test_checkpoint`.
@pytest.mark.slow
def test_full_disk(unbroken, tmp_path):
    size = sum(
        -(-path.stat().st_size // 4096) * 4096
        for path in (unbroken / "checkpoints" / "200").rglob("*")
    )
    disk = tmp_path / "disk"
    # Room for two checkpoints and some; three are kept.
    with small_disk(disk, f"{int(2.6 * size)}"):
        workdir = disk / "run"
        names(*ends_with_2(workdir, tmp_path / "stderr"))
        room = ["mount", "-o", f"remount,size={20 * size}", str(disk)]
        subprocess.run(room, check=True)
        goes_on(workdir, unbroken)


# In CI the subject is that of `test_workdirs.test_one_writer_a_workdir`.
@pytest.mark.slow
def test_a_second_process_in_a_workdir_is_refused(tmp_path):
    workdir, messages = tmp_path / "run", tmp_path / "stderr"
    with workdirs.alone([workdir]):
        with processes.started(f"--workdir={workdir}", messages=messages) as second:
            assert second.ended() == 2, second.stderr()
        says = second.stderr()
    assert f"written by process {os.getpid()} on " in says
    assert "Traceback" not in says
    assert [path.name for path in workdir.iterdir()] == [".lock"]
