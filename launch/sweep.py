"""Runs a sweep: many trainings that differ in a few numbers or words.

  python -m launch.sweep table1 --root runs/table1 --dry-run
  python -m launch.sweep table1 --root runs/table1 --local --jobs 2
  python -m launch.sweep table1 --root runs/table1 --slurm --gpus 1 --wait
  python -m launch.sweep --root runs/table1 --status
  python -m launch.sweep --root runs/table1 --gather

Each point of a sweep has a directory under the root. The same command again starts what
is neither done nor running nor queued, and goes on with what was interrupted; it ends
with 0 if all points are done. Run it from the repository's root.
"""

import argparse
import contextlib
import fcntl
import io
import json
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from launch import arguments, bundles, engine_slurm, points, status
from launch.display import Display
from launch.engine_local import LocalEngine
from launch.folder import MAIN, STATES, Folder, write_json
from launch.points import Point, SweepError
from launch.squeue import Queue
from launch.status import DONE, EX_TEMPFAIL, State


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Names may be of any letters.
            stream.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _parser(__doc__ or "")
    given = parser.parse_args(argv)
    try:
        if given.help:
            print(_help(parser, given.sweep))
            return 0
        for word in argv:
            points.one_line(word, "the command line")
        return _run(given, shlex.join(["python", "-m", "launch.sweep", *argv]))
    except SweepError as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sweep: interrupted; the same command goes on", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(given: argparse.Namespace, command: str) -> int:
    if not given.root:
        raise SweepError("--root DIR is needed: where the points' directories are")
    pack = bundles.parse_pack(given.pack)
    if given.jobs < 1 or given.retries < 0:
        raise SweepError("--jobs must be 1 or more and --retries 0 or more")
    folder = Folder(given.root)
    starts = given.local or given.slurm
    if given.sweep is None:
        if given.set or given.override:
            raise SweepError("--set and --override need the name of a sweep")
        name, wanted = folder.read()
        values: Mapping = {}
    else:
        name, function, _ = arguments.load(given.sweep)
        values = arguments.bind(name, function, given.set)
        extra = arguments.overrides(given.override)
        wanted = points.with_overrides(function(**values), extra)
    wanted = points.check(wanted)
    _check_files(wanted)
    if not starts:
        return _show(given, folder, wanted, pack)
    with _alone(folder):
        if given.sweep is not None:
            folder.write(name, values, command, wanted)
        if given.local:
            states = _local(given, folder, wanted, pack)
        else:
            states = _slurm(given, folder, name, wanted, pack)
    print(status.counts(states.values()))
    for state in states.values():
        if state.state == status.FAILED:
            print(f"failed: {state.name}: {state.detail} ({state.log})")
    if given.gather:
        _gather(folder, states)
    if all(state.state == DONE for state in states.values()):
        return 0
    return 1 if any(s.state == status.FAILED for s in states.values()) else EX_TEMPFAIL


def _local(given, folder: Folder, wanted: list[Point], pack) -> dict[str, State]:
    engine = LocalEngine(
        folder,
        wanted,
        Display(),
        jobs=given.jobs,
        pack=pack,
        retries=given.retries,
        main=shlex.split(given.main),
        take_over=given.take_over,
        interval=given.interval or 0.5,
    )
    stops = [signal.SIGINT, signal.SIGTERM]
    # What nohup has us ignore stays ignored.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        stops.append(signal.SIGHUP)
    before = {signum: signal.signal(signum, engine.stop) for signum in stops}
    states = engine.run()
    for signum, handler in before.items():
        signal.signal(signum, handler)
    if engine.stopped:
        print("stopped; the same command goes on", file=sys.stderr)
    return states


def _slurm(given, folder: Folder, name: str, wanted, pack) -> dict[str, State]:
    try:
        options = dict(item.split("=", 1) for item in given.sbatch)
    except ValueError:
        raise SweepError(f"--sbatch {given.sbatch}: expected KEY=VALUE") from None
    engine = engine_slurm.SlurmEngine(
        folder,
        name,
        wanted,
        engine_slurm.Resources(
            minutes=engine_slurm.minutes(given.time),
            nodes=given.nodes,
            tasks_per_node=given.tasks_per_node,
            cpus=given.cpus,
            gpus=given.gpus,
            mem=given.mem,
            partition=given.partition,
            account=given.account,
            constraint=given.constraint,
            parallel=given.parallel,
            signal_delay=given.signal_delay,
            sbatch=options,
            setup=given.setup,
        ),
        Display(),
        pack=pack,
        retries=given.retries,
        main=shlex.split(given.main),
        take_over=given.take_over,
        interval=given.interval or 10.0,
    )
    try:
        return engine.run(given.wait)
    except KeyboardInterrupt:
        raise SweepError(
            "stopped waiting; submitted jobs stay, the same command goes on"
        ) from None


def _show(given, folder: Folder, wanted: list[Point], pack) -> int:
    """What there is, without starting anything."""
    states = status.survey(folder, wanted, Queue(folder)(), given.take_over)
    done = all(state.state == DONE for state in states.values())
    if given.json:
        print(json.dumps(status.as_json(states.values()), indent=1, allow_nan=False))
    elif given.status:
        print(status.table(list(states.values())))
    elif not given.gather:
        _dry_run(given, folder, wanted, states, pack)
        return 0
    if given.gather:
        return _gather(folder, states)
    return 0 if done else 1


def _dry_run(given, folder, wanted, states: Mapping[str, State], pack) -> None:
    """Prints the commands in order, in the processes that they share."""
    main = shlex.split(given.main) or MAIN
    todo = [
        point
        for point in wanted
        if states[point.name].state != DONE and not states[point.name].queued
    ]
    planned = bundles.plan(todo, pack, given.jobs)
    for number, bundle in enumerate(planned):
        after = [
            str(i)
            for i, other in enumerate(planned)
            if bundle.after & {point.name for point in other.points}
        ]
        waits = f", after {', '.join(after)}" if after else ""
        together = "in one process" if len(bundle.points) > 1 else "1 point"
        print(f"# {number}: {bundle.title}, {together}{waits}")
        for point in bundle.points:
            print(shlex.join(folder.command(point, main)))
    print(
        f"# {len(todo)} of {len(wanted)} points in {len(planned)} processes; "
        f"{status.counts(states.values())}; nothing was started (--local, --slurm)"
    )


def _gather(folder: Folder, states: Mapping[str, State]) -> int:
    """Writes the report, which names the points that are missing in it."""
    write_json(folder.path / STATES, {"points": status.as_json(states.values())})
    rc = subprocess.run(
        [sys.executable, "-m", "fdnf.evaluation.report", folder.root],
        check=False,
    ).returncode
    return rc or (0 if all(s.state == DONE for s in states.values()) else 1)


def _check_files(wanted: Sequence[Point]) -> None:
    absent = sorted({p.file for p in wanted if not pathlib.Path(p.file).is_file()})
    if absent:
        raise SweepError(
            f"no config file {', '.join(absent)} below {pathlib.Path.cwd()}: run from "
            "the repository's root"
        )


@contextlib.contextmanager
def _alone(folder: Folder) -> Iterator[None]:
    """Holds a sweep against a second launcher; a killed one lets go of it."""
    folder.path.mkdir(parents=True, exist_ok=True)
    with open(folder.path / "launcher.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepError(
                f"another launcher runs the sweep in {folder.root}: wait for it, or "
                "stop it with Ctrl-C"
            ) from None
        except OSError as error:
            print(f"sweep: {folder.root} cannot be locked ({error})", file=sys.stderr)
        yield


def _help(parser: argparse.ArgumentParser, sweep: str | None) -> str:
    chosen = [sweep] if sweep else arguments.known()
    told = [parser.format_help(), "Sweeps, with the arguments that --set takes:", ""]
    for name in chosen:
        _, function, text = arguments.load(name)
        text = text if sweep else text.split("\n")[0]
        told += [f"{name}: {text}", f"  {arguments.describe(function)}", ""]
    return "\n".join(told).rstrip()


def _parser(description: str) -> argparse.ArgumentParser:
    """The options; `--help` is one, for the caller to answer."""
    found = argparse.ArgumentParser(
        prog="python -m launch.sweep",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = found.add_argument
    add("-h", "--help", action="store_true", help="this, and the sweeps")
    add("sweep", nargs="?", help="name or path; left out: the one that is in the root")
    add("--root", metavar="DIR", help="directory of the sweep")
    add(
        *("--set", "-s"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="argument of the sweep: --set seeds=5 --set data=bsds300,power",
    )
    add(
        *("--override", "-o"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the config, for all points: --override train.steps=300",
    )
    modes = found.add_argument_group("what to do").add_mutually_exclusive_group()
    add = modes.add_argument
    add("--dry-run", action="store_true", help="print the commands (the default)")
    add("--local", action="store_true", help="run here, until all is done")
    add("--slurm", action="store_true", help="submit to SLURM")
    add("--status", action="store_true", help="print how each point stands")
    add = found.add_argument
    add("--gather", action="store_true", help="write tables of what there is")
    add("--json", action="store_true", help="print the states as JSON")
    running = found.add_argument_group("running")
    add = running.add_argument
    add("--jobs", type=int, default=1, metavar="N", help="local: processes at a time")
    add(
        "--pack",
        default="auto",
        help="points that share a process and train as one program: auto, a number, or "
        "1 for none (auto: at most 16, and no fewer processes than --jobs)",
    )
    add(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="crashes in a row without a further step (2)",
    )
    add("--main", default="", metavar="COMMAND", help="in place of python -m fdnf.main")
    add(
        "--take-over",
        action="store_true",
        help="points that were started on another machine are taken to be stopped",
    )
    add("--interval", type=float, metavar="S", help="seconds between two looks")
    _add_slurm(found.add_argument_group("with --slurm"))
    return found


def _add_slurm(group) -> None:
    add = group.add_argument
    add("--wait", action="store_true", help="stay, and submit again what was lost")
    add("--partition", metavar="NAME")
    add("--gpus", type=int, metavar="N", help="GPUs of each node")
    add("--cpus", type=int, default=2, metavar="N", help="CPUs of each process (2)")
    add("--mem", type=float, metavar="GB", help="memory of each node")
    add("--time", default="240", help="limit of a job: minutes, H:M:S or D-H:M:S (240)")
    add("--nodes", type=int, default=1, metavar="N", help="nodes of each job (1)")
    add("--tasks-per-node", type=int, default=1, metavar="N", help="processes (1)")
    add("--account", metavar="NAME")
    add("--constraint", metavar="FEATURES")
    add("--parallel", type=int, default=256, metavar="N", help="jobs of an array (256)")
    add(
        "--signal-delay",
        type=int,
        default=120,
        metavar="S",
        help="seconds before the limit at which a job saves and is requeued (120)",
    )
    add(
        "--sbatch",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other option of sbatch: --sbatch qos=high",
    )
    add(
        "--setup",
        action="append",
        default=[],
        metavar="LINE",
        help="shell line before the program: --setup 'module load cuda'",
    )


if __name__ == "__main__":
    sys.exit(main())
