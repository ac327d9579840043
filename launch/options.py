"""Options of the command line of sweeps."""

import argparse


def parser(description: str) -> argparse.ArgumentParser:
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
    _slurm_options(found.add_argument_group("with --slurm"))
    return found


def _slurm_options(group) -> None:
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
