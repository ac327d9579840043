"""Several processes: joining, agreeing, stopping together, and losing one."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from fdnf.train import distributed, interruption, loop
from fdnf.train.checkpoint import Checkpointer
from fdnf.train.settings import ConfigError
from fdnf.train.writers import read_log
from tests import floats, processes

# Seconds within which survivors of a killed process end, see `distributed.HEARTBEAT`.
AT_THE_LATEST = 2 * distributed.HEARTBEAT + 60
# With few checkpoints.
SMALL = processes.SMALL | {"train.eval_every": 100}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("often",), r"--distributed=often; known: \('auto', 'slurm', 'off'\)"),
        (("auto", "host:1"), "--num_processes and --process_id together"),
        (("auto", None, 2, 0), "give --coordinator=HOST:PORT"),
        (("slurm", "host:1", 2, 0), "--distributed=slurm or --coordinator, not both"),
        (("slurm",), "SLURM_STEP_NUM_TASKS is not set; start .* with srun"),
    ],
)
def test_wrong_flags(arguments, says, monkeypatch):
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    with pytest.raises(ConfigError, match=says):
        distributed.start(*arguments)


@pytest.mark.parametrize(
    ("mode", "tasks", "joins"),
    [
        ("auto", None, False),
        ("auto", "1", False),
        ("auto", "4", True),
        ("off", "4", False),
        ("slurm", "1", True),
    ],
)
def test_slurm_is_joined_when_there_are_several_tasks(mode, tasks, joins, monkeypatch):
    given = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **kw: given.append(kw))
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    if tasks:
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", tasks)
    before = {
        name: getattr(jax.config, name)
        for name in (
            "jax_cpu_collectives_implementation",
            "jax_enable_preemption_service",
        )
    }
    try:
        distributed.start(mode)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert bool(given) == joins
    if joins:
        assert given[0]["cluster_detection_method"] == "slurm"


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, [0, 1, 2, 3]),
        ({"SLURM_GPUS_ON_NODE": "4"}, [0, 1, 2, 3]),
        (
            {
                "CUDA_VISIBLE_DEVICES": "0,1,2,3",
                "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
                "SLURM_NODEID": "1",
                "SLURM_LOCALID": "2",
            },
            [2],
        ),
        (
            {
                "SLURM_GPUS_ON_NODE": "4",
                "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
                "SLURM_NODEID": "2",
                "SLURM_LOCALID": "1",
            },
            [2, 3],
        ),
        (
            {
                "SLURM_GPUS_ON_NODE": "4",
                "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
                "SLURM_NODEID": "3",
                "SLURM_LOCALID": "0",
            },
            [0, 1, 2, 3],
        ),
        # SLURM has shared them out itself.
        (
            {
                "CUDA_VISIBLE_DEVICES": "0",
                "SLURM_GPUS_ON_NODE": "4",
                "SLURM_STEP_TASKS_PER_NODE": "4",
                "SLURM_LOCALID": "3",
            },
            [0],
        ),
    ],
)
def test_gpus_of_a_task(variables, gpus):
    assert distributed.gpus_of_task(variables) == gpus


def test_one_process_alone():
    tree = {"a": np.arange(3)}
    assert distributed.broadcast(tree) is tree
    np.testing.assert_array_equal(distributed.concatenate(tree["a"]), tree["a"])
    assert (distributed.count(), distributed.index()) == (1, 0)
    assert distributed.is_first()
    distributed.wait("nobody")


def test_other_rows_are_refused(monkeypatch):
    seen = []

    def gathered(own):
        """As if the first that was asked for were process 0's."""
        seen.append(own)
        return np.concatenate([seen[0], own])

    monkeypatch.setattr(distributed, "count", lambda: 2)
    monkeypatch.setattr(distributed, "concatenate", gathered)
    rows = np.arange(6.0)
    distributed.same("training data", rows)
    with pytest.raises(ConfigError, match=r"\[1\] of this run have other training da"):
        distributed.same("training data", rows + 1)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node001", "node001"),
        ("node001,other", "node001"),
        ("node[001-015],other", "node001"),
        ("node[003,007-015]", "node003"),
    ],
)
def test_where_the_tasks_of_slurm_meet(nodes, host):
    variables = {"SLURM_JOB_ID": "5000", "SLURM_NTASKS": "4", "SLURM_PROCID": "3"}
    found = distributed._slurm_place({**variables, "SLURM_STEP_NODELIST": nodes})
    assert found == (f"{host}:{61440 + 5000 - 4096}", 4, 3)
    assert distributed._slurm_place(variables) is None


@pytest.mark.parametrize(
    ("argv", "address"),
    [
        (["--mode=x", "--distributed=off"], None),
        (["--distributed", "off"], None),
        (["--mode=x"], "node1:61441"),
        (["--coordinator", "h:9", "--num_processes=3", "--process_id=2"], "h:9"),
        (["--coordinator=h", "--num_processes=3", "--process_id=2"], None),
    ],
)
def test_who_hears_of_a_command_that_is_wrong(argv, address, monkeypatch):
    told = []
    monkeypatch.setattr(
        distributed.Meeting,
        "join",
        lambda self, own, refused, patience: told.append((self.address, refused)),
    )
    variables = {"JOB_ID": "1", "NTASKS": "2", "PROCID": "1", "STEP_NODELIST": "node1"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    distributed.refuse("no", argv)
    assert told == ([(address, "no")] if address else [])


TASK = """
import os, sys, time
import numpy as np
from fdnf.train import distributed
from fdnf.train.settings import ConfigError
i = int(os.environ["SLURM_PROCID"])
try:
    distributed.start(own=lambda: {"seed": i + 1})
except ConfigError as error:
    print(repr(str(error)), flush=True)
os.environ["SLURM_JOB_ID"] = sys.argv[1]
distributed.start(own=lambda: {"seed": 1})
assert (distributed.count(), distributed.index()) == (2, i)
own = {
    "zero": np.array([-0.0, np.nan, 1e-45], np.float32) if i == 0 else np.ones(3, "f4"),
    "large": np.array(2**62 + 1 if i == 0 else 0),
    "none": np.zeros((0, 2)),
    "flag": np.array([i == 0]),
}
found = distributed.broadcast(own)
assert found["zero"].tobytes() == np.array([-0.0, np.nan, 1e-45], "f4").tobytes()
assert found["large"] == 2**62 + 1 and found["large"].dtype == np.int64
assert found["none"].shape == (0, 2) and found["flag"][0]
rows = distributed.concatenate(np.full((1, 2), i), axis=1)
assert rows.tolist() == [[0, 0, 1, 1]], rows
distributed.wait("end")
print("agreed", flush=True)
time.sleep(600)
"""


def test_tasks_of_slurm_meet_agree_to_the_bit_and_end_with_each_other():
    """As srun starts them, first unlike and then alike; SLURM is asked for nothing."""
    # Where they meet is a matter of the job's number.
    number = processes.free_port()
    jobs = [str(number), str(number + 1)]
    variables = {
        "SLURM_JOB_ID": jobs[0],
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": "2",
    }
    with contextlib.ExitStack() as stack:
        both = []
        for i in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", TASK, jobs[1]],
                cwd=processes.ROOT,
                env=os.environ
                | variables
                | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.kill)
            both.append(process)
        told = set()
        for process in both:
            told.add(process.stdout.readline())
            # Between them the libraries say that they are connected.
            assert "agreed\n" in process.stdout, process.stderr.read()
        # The other one ends too, and does not wait for it for ever.
        both[0].kill()
        _, errors = both[1].communicate(timeout=AT_THE_LATEST)
        # 134 to a shell: JAX ends what has lost another process by SIGABRT.
        assert both[1].returncode == -signal.SIGABRT, errors
    (one,) = told
    assert "different: seed (1 and 2)" in one


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    loop.train_and_evaluate(processes.config(SMALL), workdir)
    return read_log(workdir)


def same_losses(workdir, unbroken):
    rows = read_log(workdir)
    assert [row["step"] for row in rows] == [row["step"] for row in unbroken]
    for ours, theirs in zip(rows, unbroken, strict=True):
        # The first call after a start, which compiles, has no pace.
        assert ours.keys() ^ theirs.keys() <= {"steps_per_second"}
        for name in ("loss", "gradient_norm", "val_log_prob"):
            if name in theirs:
                floats.assert_close(ours[name], theirs[name], rtol=1e-4)


def pair(workdir, messages, **options):
    """Two processes of two devices each."""
    return processes.together(
        2,
        f"--workdir={workdir}",
        messages=messages,
        overrides=SMALL,
        devices=2,
        **options,
    )


# In CI one process is told, in `test_signals`, and two end together, above.
@pytest.mark.slow
def test_one_is_told_to_stop_and_both_do(unbroken, tmp_path):
    workdir, messages = tmp_path / "run", tmp_path / "stderr"
    with pair(workdir, messages) as runs:
        processes.until(lambda: processes.rows(workdir) > 4, runs)
        runs[1].signal(signal.SIGTERM)
        assert [run.ended() for run in runs] == [interruption.EXIT_CODE] * 2
    step = Checkpointer(workdir).steps()[0]
    assert f"stopped by a signal to another process at step {step}" in runs[0].stderr()
    assert f"stopped by SIGTERM at step {step}" in runs[1].stderr()
    # One process writes: every row once.
    assert [row["step"] for row in read_log(workdir)] == list(range(2, step + 1, 2))
    # Go on in this process, with two devices.
    loop.train_and_evaluate(processes.config(SMALL), workdir)
    same_losses(workdir, unbroken)


# In CI tasks of SLURM, above, end with each other, and `test_faults` has killed ones
# that go on. That of process 1 is noticed by its heartbeats: up to AT_THE_LATEST.
@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other(victim, unbroken, tmp_path):
    workdir, messages = tmp_path / "run", tmp_path / "stderr"
    with pair(workdir, messages) as runs:
        # After the first checkpoint.
        processes.until(lambda: processes.rows(workdir) > 54, runs)
        runs[victim].signal(signal.SIGKILL)
        begun = time.monotonic()
        survivor = runs[1 - victim]
        status = survivor.ended(AT_THE_LATEST)
        print(f"the survivor ended after {time.monotonic() - begun:.1f} s")
    # 134 to a shell: JAX ends what has lost another process by SIGABRT.
    assert status in (interruption.EXIT_CODE, -signal.SIGABRT), survivor.stderr()
    assert not (workdir / loop.FINISHED).exists()
    # Go on in this process, with two devices.
    loop.train_and_evaluate(processes.config(SMALL), workdir)
    same_losses(workdir, unbroken)


# A killed one, above, is the harder case.
@pytest.mark.slow
def test_a_failure_of_one_process_ends_both(tmp_path):
    workdir = tmp_path / "run"
    with pair(workdir, tmp_path / "stderr") as runs:
        processes.until(lambda: processes.rows(workdir) > 4, runs)
        # Its disk is full from here on.
        limit = (workdir / "log.jsonl").stat().st_size + 1000
        resource.prlimit(runs[0].process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        first = runs[0].ended(AT_THE_LATEST)
        second = runs[1].ended(AT_THE_LATEST)
    assert first == 2, runs[0].stderr()
    # It hears of it, and is not left to be requeued for ever.
    assert second == 2, runs[1].stderr()
    assert "fdnf: process 0 of 2: CheckpointError: writing" in runs[1].stderr()


@contextlib.contextmanager
def unlike(tmp_path, first, second, environments=({}, {}), config=None):
    """Two processes of one run, each with arguments and environment of its own."""
    more = {"config": config} if config else {}
    coordinator = f"--coordinator=127.0.0.1:{processes.free_port()}"
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                processes.started(
                    *(coordinator, "--num_processes=2", f"--process_id={i}"),
                    f"--workdir={tmp_path / 'run'}",
                    *own,
                    messages=tmp_path / f"stderr.{i}",
                    overrides=SMALL,
                    environment=environments[i],
                    **more,
                )
            )
            for i, own in enumerate((first, second))
        ]


# In CI the first is that of tasks of SLURM, above, and the second in parts that of
# `test_who_hears_of_a_command_that_is_wrong` and of `test_meeting`.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--config.optim.lr=0.5", "--config.seed=9", "--workdir=other"],
            ["--workdir (", "config.optim.lr (0.003 and 0.5), config.seed (0 and 9)"],
        ),
        (["--config.train.stepz=5"], ["process 1 of 2: an override names an unknown"]),
    ],
)
def test_processes_that_do_not_fit_together(arguments, told, tmp_path):
    with unlike(tmp_path, [], arguments) as runs:
        assert [run.ended() for run in runs] == [2, 2], runs[0].stderr()
    for run in runs:
        assert "Traceback" not in run.stderr()
    assert all(text in runs[0].stderr() for text in told), runs[0].stderr()
    assert not (tmp_path / "run").exists()


HOMELY = """
import ml_collections
from configs import maf_gas

def get_config(arg=""):
    config = maf_gas.get_config("teacher,smoke")
    data = {"name": "npz", "args": {"path": "~/rows.npz"}}
    return ml_collections.ConfigDict(config.to_dict() | {"data": data})
"""


@pytest.mark.parametrize(
    ("second", "told"),
    [
        # In CI both are refused by one process: here, how the other hears of it.
        pytest.param(*("none", "process 1 of 2: DataError: "), marks=pytest.mark.slow),
        pytest.param(
            *("other", "process(es) [1] of this run have other training data"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_data_of_one_machine_only(second, told, tmp_path):
    """Found out after they met; process 0 may wait in a computation by then."""
    (tmp_path / "config.py").write_text(HOMELY)
    rng = np.random.default_rng(0)
    for name in ("first", "other", "none"):
        (tmp_path / name).mkdir()
        if name != "none":
            rows = {k: rng.normal(size=(256, 4)) for k in ("train", "val", "test")}
            np.savez(tmp_path / name / "rows.npz", **rows)
    homes = [{"HOME": str(tmp_path / name)} for name in ("first", second)]
    config = str(tmp_path / "config.py")
    with unlike(tmp_path, [], [], homes, config) as runs:
        assert [run.ended() for run in runs] == [2, 2], runs[0].stderr()
    assert told in runs[0].stderr()
