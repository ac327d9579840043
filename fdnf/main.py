"""Trains, evaluates, samples and compares normalizing flows.

  python -m fdnf.main --config=configs/maf_patches.py:ilkd --workdir=runs/maf

Modes:
  train   trains what the config describes, then evaluates it. A student with a teacher
          has the teacher trained before (once), and then, where it is a flow, a plain
          student of the same size beside the distilled one; a table and pictures
          compare them. What `pretrained` describes is trained before all else.
  study   the same for all methods of study.methods, over study.runs seeds.
  eval    evaluates a trained workdir again; with --rows=FILE, or other data in the
          config, by these, which leaves its own table: other_data/*/.
  single  trains and evaluates what the config describes and nothing else; a distilled
          student needs --config.teacher.workdir, and a model with a `pretrained`
          section --config.pretrained.workdir. With --points=FILE several, in one
          process, and those that differ in numbers only as one program (--pack).
          launch/sweep.py starts this.
  sample  draws eval.samples samples of a trained workdir: samples/*.npz and *.png; of
          images with their latents, at each of eval.temperatures; of super-resolution
          strips beside the originals, of speech recordings and spectrograms. With
          --conditions=FILE for the condition in each row, as CSV with the columns'
          names: samples/given_*.csv. With --exact those of a student's teacher, which
          the student proposes and the teacher weighs (--exact=defects: which rounds
          of both settle), and what is to say of them.
  density writes log p of each row of --rows=FILE, in nats and in the rows' own units:
          density/*.csv. Tables are CSV, Parquet, Arrow, .npy or .npz.
  export  writes the sampler of each run of a trained workdir as StableHLO files that
          need nothing but jax: export/run_*/. A student's teacher goes with it, so that
          exact samples can be drawn there, and a certificate of how far it is from it.

A run that was stopped goes on where it stood when the same command is given again; a
finished one is made longer by a larger --config.train.steps, and stops early by
--config.train.early_stop. On
SIGTERM, SIGUSR1, SIGUSR2 or SIGHUP (a closed terminal) it saves and ends with exit
status 75, which a launcher takes for "start it again"; on SIGINT (Ctrl-C) it saves and
ends by that signal, 130 to a shell, so that loops and launchers around it stop too. A
second signal ends it at once. 2 says that something must be put right first.

Several processes train one run when each is told --coordinator, --num_processes and
--process_id, or srun starts them. Any key of the config can be set:
--config.train.steps=1000. Words after the config's colon say what is trained:
configs/maf_gas.py is the teacher, maf_gas.py:student a smaller flow, maf_gas.py:ilkd
one that the teacher teaches; :ilkd,smoke takes seconds, on synthetic data. The words
of each config are in configs/README.md, and in the answer to an unknown one. What the
keys of a config are and mean: --print_config with it.
"""

import contextlib
import hashlib
import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from fdnf.train import interruption

if __name__ == "__main__":
    # The imports below take seconds.
    interruption.watch()

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from fdnf import files, misread
from fdnf.data import build as datasets
from fdnf.data import paths
from fdnf.data.tabular import DataError
from fdnf.evaluation.export import write as export_mode
from fdnf.evaluation.tasks import evaluate, exact, rows
from fdnf.experiments import points, study
from fdnf.train import (
    distributed,
    ending,
    faults,
    keys,
    loop,
    meanings,
    meeting,
    objectives,
    process,
    settings,
    workdirs,
)
from fdnf.train.checkpoint import CheckpointError
from fdnf.train.settings import ConfigError

__doc__ = f"{__doc__}\n{keys.listing()}"

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Python file with get_config(), and words after a colon: "
    "configs/maf_gas.py:student.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run: checkpoints, logs, tables, pictures."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "eval", "sample", "density", "export", "study", "single"],
    "What to do; see above.",
)
_ROWS = flags.DEFINE_string(
    "rows",
    None,
    "File of rows: of --mode=density those whose log p is written, of --mode=eval "
    "those that stand in the place of the test rows.",
)
_CONDITIONS = flags.DEFINE_string(
    "conditions", None, "File of conditions, one a row, for --mode=sample."
)
_SAMPLES = flags.DEFINE_integer(
    "samples",
    None,
    "How many of each row of --conditions; by default eval.samples in all.",
)


class _Method(flags.ArgumentParser[bool | str]):
    """`--exact`, or `--exact=METHOD`."""

    syntactic_help = f"alone, or one of {', '.join(exact.METHODS)}"

    def parse(self, argument: bool | str) -> bool | str:
        if argument in exact.METHODS:
            return argument
        try:
            return flags.BooleanParser().parse(argument)
        except ValueError:
            raise ValueError(f"{argument!r}: expected {self.syntactic_help}") from None


_EXACT = flags.DEFINE_flag(
    flags.Flag(
        *(_Method(), None, "exact", False),
        "Of a student, --mode=sample draws exact samples of its teacher; or how: "
        f"--exact={exact.METHODS[-1]}.",
        boolean=True,
    )
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "The .csv file that --mode=density, and --mode=sample --conditions, write; or a "
    "directory for it.",
)
_PRINT = flags.DEFINE_boolean(
    "print_config",
    False,
    "Prints all keys of the config with their values and meanings, and does nothing.",
)
_CACHE = flags.DEFINE_string(
    "compilation_cache",
    None,
    "Directory where compiled programs are kept between runs, in place of xla/ in "
    "$XDG_CACHE_HOME/fdnf or ~/.cache/fdnf; empty for none.",
)
_POINTS = flags.DEFINE_string(
    "points",
    None,
    "JSON file with several experiments for --mode=single, instead of --workdir: "
    '[{"workdir": "runs/a", "overrides": {"seed": 3}}, ...].',
)
_PACK = flags.DEFINE_string(
    "pack",
    "auto",
    "How many of the points train as one program at most: auto, 1 or a number.",
)
_DISTRIBUTED = flags.DEFINE_enum(
    "distributed",
    "auto",
    distributed.MODES,
    "Several processes: auto joins the tasks of a SLURM step, if there are several.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, for several processes."
)
_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes.")
_PROCESS = flags.DEFINE_integer("process_id", None, "Which one this is, from 0.")
flags.mark_flags_as_required(["config"])

# What a user can put right: shown as one message, without a traceback.
_EXPECTED = (
    ConfigError,
    DataError,
    CheckpointError,
    ending.TrainingStoppedError,
    OSError,
)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses as absl does, and checks the config; what is wrong is a few lines."""
    files.print_anything()
    whole = sys.argv
    try:
        # ml_collections looks for overrides there, too.
        sys.argv, given = settings.split_flags(argv)
        left = flags.FLAGS(sys.argv)
        # A config file that is not there is only reported at the first use.
        if _CONFIG.value is not None:
            _ = _CONFIG.value.to_dict
            known = config_flags.get_override_values(flags.FLAGS["config"])
            settings.override(_CONFIG.value, settings.of_models(known) | given)
            if not _PRINT.value:
                faults.refuse(faults.of(_CONFIG.value))
        return left
    except Exception as error:
        message = misread.of(error, argv)
    finally:
        sys.argv = whole
    print(f"fdnf: {message}", file=sys.stderr, flush=True)
    distributed.refuse(message, sys.argv[1:])
    raise SystemExit(2)


def main(argv: Sequence[str]) -> int:
    """Runs the mode; the exit status."""
    if len(argv) > 1:
        return _refused(f"unknown arguments {list(argv[1:])}")
    # Orbax tells at length what it does at every save; our own lines stay.
    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("fdnf").setLevel(logging.INFO)
    if _PRINT.value:
        print(meanings.listing(_CONFIG.value), end="")
        wrong = "\n".join(faults.of(_CONFIG.value))
        return _refused(wrong) if wrong else 0
    if bool(_WORKDIR.value) == bool(_POINTS.value):
        return _refused("give --workdir, or --points for several")
    process.prepare(images=settings.convolves(_CONFIG.value))
    try:
        with interruption.handled():
            if _CACHE.value != "":
                given = paths.expanded(_CACHE.value) if _CACHE.value else None
                place = given or paths.cache_dir() / "xla"
                jax.config.update("jax_compilation_cache_dir", str(place))
                jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            settings.expand(_CONFIG.value)
            workdir = paths.expanded(_WORKDIR.value) if _WORKDIR.value else None
            distributed.start(
                _DISTRIBUTED.value,
                _COORDINATOR.value,
                _PROCESSES.value,
                _PROCESS.value,
                lambda: _told(_CONFIG.value, workdir),
            )
            status = _run(_MODE.value, _CONFIG.value, workdir)
            # Not at the exit, where those that wait for process 0, which evaluates,
            # would be taken for dead.
            distributed.wait("done")
            return status
    except interruption.StoppedBySignalError as error:
        interruption.tell(str(error))
        status = distributed.leave(error.status, agreed=error.agreed)
        return interruption.leave(status) if distributed.count() == 1 else status
    except _EXPECTED as error:
        text = f"{type(error).__name__}: {error}"
        _say(f"fdnf: {text}")
        distributed.refuse(text, sys.argv[1:])
        return distributed.leave(2)
    except Exception as error:
        if distributed.count() == 1:
            raise
        distributed.abandon(error)


def _refused(text: str) -> int:
    """The exit status of a command that is wrong; all processes of its run hear why."""
    _say(f"fdnf: {text}")
    distributed.refuse(text, sys.argv[1:])
    return 2


def _told(config: Any, workdir: pathlib.Path | None) -> dict[str, str]:
    """What all processes of a run must have been told alike."""
    points = pathlib.Path(_POINTS.value) if _POINTS.value else None
    return {
        "code": meeting.code(),
        "jax": f"{jax.__version__}, {jax.dtypes.canonicalize_dtype(float)}",
        "--mode": _MODE.value,
        "--pack": _PACK.value,
        "--workdir": str(workdir and workdir.absolute()),
        "--points": hashlib.sha256(points.read_bytes()).hexdigest() if points else "",
        **meeting.flat(config.to_dict(), "config."),
    }


def _say(text: str) -> None:
    """To stderr, which may be a file on the disk that is full."""
    with contextlib.suppress(OSError):
        # In one piece: another thread may write, too.
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _run(mode: str, config: Any, workdir: pathlib.Path | None) -> int:
    """The exit status of a mode; without a workdir there is a file of points."""
    asked = Asked(
        *(_ROWS.value, _CONDITIONS.value, _SAMPLES.value, _OUT.value),
        _EXACT.value or None,
    )
    _check_asked(mode, asked)
    if mode == "single":
        evaluate.check(config.eval)
        if workdir is None:
            members = points.read(str(_POINTS.value), config)
        else:
            members = [points.member(config, workdir)]
        failed = points.run(members, _PACK.value)
        for path in failed:
            print(f"fdnf: failed: {path}", file=sys.stderr)
        return 2 if failed else 0
    if workdir is None:
        raise ConfigError("--points is for --mode=single")
    if distributed.count() > 1 and mode != "train":
        raise ConfigError(f"--mode={mode} is for one process: start it without others")
    _one(mode, config, workdir, asked)
    return 0


class Asked(NamedTuple):
    """What a trained model is asked, by the flags of these names."""

    rows: str | None = None
    conditions: str | None = None
    samples: int | None = None
    out: str | None = None
    exact: bool | str | None = None


NOTHING = Asked()
# The modes that they are for.
_FOR = {
    "rows": ("density", "eval"),
    "conditions": ("sample",),
    "samples": ("sample",),
    "out": ("density", "sample"),
    "exact": ("sample",),
}


def _check_asked(mode: str, asked: Asked) -> None:
    """Refuses what the mode would not look at, or cannot do without."""
    for name, modes in _FOR.items():
        if getattr(asked, name) is not None and mode not in modes:
            meant = " and ".join(f"--mode={each}" for each in modes)
            raise ConfigError(f"--{name} is for {meant}; got --mode={mode}")
    if mode == "density" and not asked.rows:
        raise ConfigError("--mode=density needs the rows: --rows=FILE")
    for name in ("samples", "out"):
        given = getattr(asked, name) is not None
        if mode == "sample" and given and not asked.conditions:
            raise ConfigError(
                f"--{name} goes with --conditions=FILE; without, eval.samples says how "
                "many samples, which go into the workdir"
            )


def _one(mode: str, config: Any, workdir: pathlib.Path, asked: Asked = NOTHING) -> None:
    evaluate.check(config.eval)
    if mode == "density":
        print(rows.density(workdir, config.eval, str(asked.rows), asked.out))
        return
    if mode == "sample" and asked.exact:
        print(exact.sample(workdir, config, *asked[1:4], asked.exact))
        return
    writers = {
        "sample": lambda: evaluate.sample(workdir, config),
        "export": lambda: export_mode.write(config, workdir),
    }
    if given := asked.conditions:
        more = (config.seed, asked.samples, asked.out)
        writers["sample"] = lambda: rows.sample(workdir, config.eval, given, *more)
    if mode in writers:
        for path in writers[mode]():
            print(path)
        return
    distilled = objectives.needs_teacher(config)
    if mode == "study":
        table = study.run(config, workdir, config.study.methods, config.study.runs)
    elif distilled and mode == "eval":
        table = study.again(config, workdir, asked.rows)
    elif distilled:
        methods = ("student", config.loss.method)
        if config.loss.method in objectives.BY_LOSS:
            # A plain one, of likelihood, would be another kind of model.
            methods = (config.label or config.loss.method,)
        table = study.run(config, workdir, methods, config.runs)
    else:
        with contextlib.ExitStack() as stack:
            if mode == "train":
                settings.check(config)
                stack.enter_context(workdirs.alone([workdir]))
                loop.train_and_evaluate(config, workdir, label=config.role)
            if not distributed.is_first():
                return
            data = datasets.build(config.data)
            where = {config.role: workdir}
            table = study.report(workdir, where, data, config.eval, asked.rows)
    if not distributed.is_first():
        return
    print(table)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
