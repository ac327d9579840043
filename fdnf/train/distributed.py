"""Several processes that train one program: who they are, and what they agree on.

Each process has its own devices; together they are one `pmap` axis. Process 0 alone
writes files and decides what is restored; the others are told.
"""

import contextlib
import os
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jax
import numpy as np

from fdnf.train import interruption
from fdnf.train.meeting import PARTING, Meeting
from fdnf.train.rules import ConfigError

MODES = ("auto", "slurm", "off")
# Seconds without a sign of life after which a process is given up; those that are left
# end at the latest after about twice that.
HEARTBEAT = 30
# Seconds that processes which are done wait for process 0, which evaluates alone.
PATIENCE = 12 * 3600

_meetings: list[Meeting] = []


def start(
    mode: str = "auto",
    coordinator: str | None = None,
    processes: int | None = None,
    index: int | None = None,
    own: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Joins the other processes of this run, if there are any; before any computation.

    They first meet, see `meeting`, and compare what they were told to do.

    Args:
      mode: "slurm" takes number and index of the processes, and where to meet, from
        SLURM's variables; "auto" does so in a SLURM step of several tasks; "off" never.
      coordinator: "host:port" of process 0, where all meet; the three go together.
      processes: their number.
      index: that of this one, from 0.
      own: gives what this process was told, which must be the same in all; asked only
        if there are several.

    Raises:
      ConfigError: for arguments that do not fit together, processes that do not, or
        when not all of them come within five minutes.
    """
    if mode not in MODES:
        raise ConfigError(f"--distributed={mode}; known: {MODES}")
    given = (coordinator, processes, index)
    known: dict[str, Any] = {}
    if any(value is not None for value in given):
        if any(value is None for value in given):
            raise ConfigError(
                "give --coordinator=HOST:PORT, --num_processes and --process_id "
                "together, or none of them"
            )
        if mode == "slurm":
            raise ConfigError("give --distributed=slurm or --coordinator, not both")
        known = {
            "coordinator_address": coordinator,
            "num_processes": processes,
            "process_id": index,
        }
    elif mode == "off" or (mode == "auto" and not _slurm_step()):
        return
    else:
        if "SLURM_STEP_NUM_TASKS" not in os.environ:
            raise ConfigError(
                "--distributed=slurm: SLURM_STEP_NUM_TASKS is not set; start the "
                "processes with srun"
            )
        known = {"cluster_detection_method": "slurm"}
        if found := _slurm_place(os.environ):
            # Said to JAX too, so that it is the same.
            coordinator, processes, index = found
            known["coordinator_address"] = coordinator
    meeting: Meeting | None = None
    if coordinator is not None and processes is not None and index is not None:
        meeting = Meeting(coordinator, processes, index)
        _meetings.append(meeting)
        meeting.join(own())
    # It would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    # Only read where processes are CPUs'.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            **known,
            # JAX by itself gives every task of SLURM one GPU.
            local_device_ids=None if given[0] else gpus_of_task(os.environ),
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PATIENCE,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the processes of this run did not meet ({error}): start all of them, "
            "with one --coordinator that they can reach"
        ) from error
    if meeting is not None:
        meeting.listen(_end)


def refuse(text: str, argv: Sequence[str]) -> None:
    """Tells the other processes, if there are any, why this one ends with 2.

    Args:
      text: why.
      argv: its arguments as they were given, for one that did not get as far as
        `start`: what is wrong may be any of them.
    """
    for meeting in _meetings:
        meeting.refuse(text)
    if _meetings:
        return
    words, given = "\n".join(argv), []
    if re.search(r"^--?distributed[=\n]off$", words, re.MULTILINE):
        return
    for name in ("coordinator", "num_processes", "process_id"):
        given += re.findall(rf"^--?{name}[=\n](.*)$", words, re.MULTILINE)[-1:]
    found = tuple(given) if len(given) == 3 else _slurm_place(os.environ)
    if found is None:
        return
    with contextlib.suppress(ConfigError, ValueError):
        meeting = Meeting(found[0], int(found[1]), int(found[2]))
        if meeting.count > 1:
            meeting.join({}, refused=text, patience=PARTING)


def _end(text: str) -> None:
    """Ends this process because another one is refused."""
    with contextlib.suppress(OSError):
        # In one piece, beside the main thread.
        sys.stderr.write(f"fdnf: {text}\n")
        sys.stderr.flush()
    interruption.end_at_once(2)


def same(what: str, rows: np.ndarray) -> None:
    """Refuses processes that do not have the same rows; all of them.

    Args:
      what: they are, for the message.
      rows: of this process.

    Raises:
      ConfigError: they differ.
    """
    if count() == 1:
        return
    digest = zlib.crc32(np.asarray(rows).tobytes())
    found = concatenate(np.array([digest], np.uint32))
    others = np.flatnonzero(found != found[0]).tolist()
    if others:
        raise ConfigError(
            f"process 0 and process(es) {others} of this run have other {what}: give "
            "all of them the same files"
        )


def _slurm_place(environment: Mapping[str, str]) -> tuple[str, int, int] | None:
    """Where the tasks of a SLURM step meet, their number and that of this one.

    At the first node, at a port of the job's own above those that Linux deals out.
    None where SLURM's variables are not all set.
    """
    names = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID")
    job, nodes, tasks, index = (environment.get(name, "") for name in names)
    # Such as "node001", "node001,other" and "node[001-015,017],other".
    first = re.match(r"([^,\[]+)(?:\[([^-,\]]+))?", nodes)
    if not first or not all(text.isdecimal() for text in (job, tasks, index)):
        return None
    host = first[1] + (first[2] or "")
    return f"{host}:{61440 + int(job) % 4096}", int(tasks), int(index)


def _slurm_step() -> bool:
    """Whether this is one of several tasks that srun started; not a batch script."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def gpus_of_task(environment: Mapping[str, str]) -> list[int] | None:
    """Which of the GPUs that it sees a task of SLURM uses; None without GPUs.

    One task on a node takes all of them, several share them out, unless SLURM has
    done so already and each sees its own only.
    """
    seen = environment.get("CUDA_VISIBLE_DEVICES", "")
    gpus = len([name for name in seen.split(",") if name])
    gpus = gpus or int(environment.get("SLURM_GPUS_ON_NODE") or 0)
    if not gpus:
        return None
    # Such as "2(x3),1": two tasks on each of three nodes, one on the fourth.
    tasks = []
    for entry in environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        number, _, times = entry.rstrip(")").partition("(x")
        tasks += [int(number)] * int(times or 1)
    here = tasks[int(environment.get("SLURM_NODEID", 0))]
    if gpus < here or here == 1:
        return list(range(gpus))
    each = gpus // here
    first = int(environment.get("SLURM_LOCALID", 0)) * each
    return list(range(first, first + each))


def count() -> int:
    """Number of processes."""
    return jax.process_count()


def index() -> int:
    """Index of this process."""
    return jax.process_index()


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def broadcast(tree: Any) -> Any:
    """Process 0's arrays, bit for bit, on all; shapes and types must agree.

    Args:
      tree: of arrays; only that of process 0 counts.

    Returns:
      The tree with numpy leaves.
    """
    if count() == 1:
        return tree
    from jax.experimental import multihost_utils

    # As bytes: the sum over processes that this is done by would turn -0.0 into 0.0.
    leaves, treedef = jax.tree.flatten(jax.device_get(tree))
    arrays = [np.asarray(leaf) for leaf in leaves]
    raw = [np.frombuffer(a.tobytes(), np.uint8) for a in arrays]
    joined = np.concatenate(raw) if raw else np.zeros(0, np.uint8)
    joined = np.asarray(multihost_utils.broadcast_one_to_all(joined))
    found, at = [], 0
    for a in arrays:
        part = joined[at : at + a.nbytes]
        found.append(np.frombuffer(part.tobytes(), a.dtype).reshape(a.shape).copy())
        at += a.nbytes
    return jax.tree.unflatten(treedef, found)


def concatenate(rows: np.ndarray, axis: int = 0) -> np.ndarray:
    """The processes' arrays of one shape, one after the other, on all."""
    if count() == 1:
        return rows
    from jax.experimental import multihost_utils

    found = np.asarray(multihost_utils.process_allgather(rows))
    return np.concatenate(list(found), axis=axis)


def leave(status: int, agreed: bool = False) -> int:
    """The exit status; ends this process at once if others do not end with it.

    A usual exit would wait for them, and they for this one.

    Args:
      status: of the exit.
      agreed: whether all processes end here.
    """
    if count() > 1 and not agreed:
        interruption.end_at_once(status)
    return status


def abandon(error: Exception) -> NoReturn:
    """Ends this process at once, after an error that nobody foresaw.

    Most often another process of the run was lost; the same command goes on then.
    """
    lost = isinstance(error, jax.errors.JaxRuntimeError)
    with contextlib.suppress(OSError):
        traceback.print_exception(error)
        if lost:
            print(
                f"fdnf: process {index()} of {count()} lost touch with another: start "
                "all of them again to go on from the last checkpoint",
                file=sys.stderr,
            )
    leave(interruption.EXIT_CODE if lost else 1)
    raise error  # Not reached: there are others.


def wait(name: str) -> None:
    """Waits until all processes are here, with all of their devices.

    JAX's own barrier returns with the first device of each process. A process that ends
    then leaves the other devices of its peers to wait for it without end.

    Args:
      name: of this place in the program.

    Raises:
      RuntimeError: another process waits at another place.
    """
    if count() == 1:
        return
    processes = np.array(jax.devices()).reshape(count(), -1)
    mesh = jax.sharding.Mesh(processes, ("processes", "devices"))
    split, whole = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in (["processes"], [])
    )
    place = np.array([zlib.crc32(name.encode())], np.uint32)
    places = jax.make_array_from_process_local_data(split, place)
    places = jax.jit(lambda rows: rows, out_shardings=whole)(places)
    found = np.asarray(jax.block_until_ready(places).addressable_data(0))
    if not np.all(found == place):
        raise RuntimeError(f"not all processes of this run wait for {name!r}: {found}")
