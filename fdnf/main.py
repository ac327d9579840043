"""Trains, evaluates, samples and compares normalizing flows.

  python -m fdnf.main --config=configs/maf_patches_distill.py:ilkd --workdir=runs/maf

Modes:
  train   trains what the config describes, then evaluates it. A *_distill config first
          trains its teacher (once), then a plain and a distilled student of the same
          size, and writes a table and pictures that compare the three.
  study   the same for all methods of study.methods, over study.runs seeds.
  eval    evaluates a trained workdir again.
  sample  draws eval.samples samples of a trained workdir: samples/*.npz and *.png; of
          images with their latents, at each of eval.temperatures.

A run that was stopped goes on where it stood when the same command is given again. Any
key of the config can be set: --config.train.steps=1000. A word after the config's colon
picks a variant: configs/maf_gas.py:student, or :smoke for seconds on synthetic data.
"""

import logging
import os
import pathlib
import sys
from collections.abc import Sequence

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from fdnf.data import build as datasets
from fdnf.data.tabular import DataError
from fdnf.evaluation import image_extractors, study
from fdnf.evaluation import sampling as sampling_mode
from fdnf.train import loop, objectives, process
from fdnf.train.checkpoint import CheckpointError
from fdnf.train.settings import ConfigError

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Python file with get_config(), and a variant after a colon: "
    "configs/maf_gas.py:student.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run: checkpoints, logs, tables, pictures."
)
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "eval", "sample", "study"], "What to do; see above."
)
_CACHE = flags.DEFINE_string(
    "compilation_cache",
    os.path.join("~", ".cache", "fdnf", "xla"),
    "Directory where compiled programs are kept between runs; empty for none.",
)
flags.mark_flags_as_required(["config", "workdir"])

# What a user can put right: shown as one message, without a traceback.
_EXPECTED = (
    ConfigError,
    DataError,
    CheckpointError,
    loop.TrainingStoppedError,
    FileNotFoundError,
    PermissionError,
)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses as absl does, but says what is wrong with a config in a few lines."""
    try:
        argv = flags.FLAGS(argv)
        # A config file that is not there is only reported at the first use.
        if _CONFIG.value is not None:
            _ = _CONFIG.value.to_dict
        return argv
    # Attribute and key errors are overrides of what the config does not have.
    except (flags.Error, AttributeError, KeyError, OSError) as error:
        inner: BaseException = error
        while inner.args and isinstance(inner.args[0], BaseException):
            inner = inner.args[0]
        message = str(inner.args[0] if isinstance(inner, KeyError) else inner)
        if not isinstance(error, flags.Error | OSError):
            message = f"an override names an unknown config key: {message}"
    # An error inside a config file comes with its traceback; the last line says it.
    message, found, trace = message.partition("Traceback (most recent call last):")
    if found:
        message = message.strip() + "\n" + trace.strip().splitlines()[-1]
    print(f"fdnf: {message}\nSee --help.", file=sys.stderr)
    raise SystemExit(2)


def main(argv: Sequence[str]) -> int:
    """Runs the mode; the exit status."""
    if len(argv) > 1:
        print(f"fdnf: unknown arguments {list(argv[1:])}", file=sys.stderr)
        return 2
    # Orbax tells at length what it does at every save; our own lines stay.
    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("fdnf").setLevel(logging.INFO)
    process.prepare(images="n_bits" in _CONFIG.value.data)
    if _CACHE.value:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(_CACHE.value))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    try:
        _run(_MODE.value, _CONFIG.value, pathlib.Path(str(_WORKDIR.value)))
    except _EXPECTED as error:
        print(f"fdnf: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def _run(mode: str, config, workdir: pathlib.Path) -> None:
    image_extractors.check(config.eval)
    if mode == "sample":
        for path in sampling_mode.write(workdir, config):
            print(path)
        return
    distilled = objectives.needs_teacher(config)
    if mode == "study":
        table = study.run(config, workdir, config.study.methods, config.study.runs)
    elif distilled and mode == "eval":
        table = study.again(config, workdir)
    elif distilled:
        methods = ("student", config.loss.method)
        table = study.run(config, workdir, methods, config.runs)
    else:
        if mode == "train":
            loop.train_and_evaluate(config, workdir, label=config.role)
        data = datasets.build(config.data)
        table = study.report(workdir, {config.role: workdir}, data, config.eval)
    print(table)
    print(f"Written: {workdir}/table.md, {workdir}/figures/", file=sys.stderr)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
