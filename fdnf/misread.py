"""What is wrong with a command line, or in its config file, as a user reads it."""

import difflib
import itertools
import os
import pathlib
import traceback
from collections.abc import Sequence

from absl import flags

from fdnf.train import faults
from fdnf.train.settings import ConfigError


def of(error: Exception, argv: Sequence[str]) -> str:
    """The text that says it.

    Args:
        error: what came of reading it.
        argv: the words.

    Raises:
        Exception: the error itself, where it is no fault of the command.
    """
    named = [word.partition("=")[2] for word in argv if word.startswith("--config=")]
    named += [after for word, after in itertools.pairwise(argv) if word == "--config"]
    file, _, words = named[-1].partition(":") if named else ("", "", "")
    if file and not os.path.isfile(file):
        return no_such_file(pathlib.Path(file), words)
    message = _fault(error, file)
    if isinstance(error, AttributeError | KeyError):
        message = _unknown(message, argv)
    # A word that the config does not take; the answer has those that it does. Of a
    # binary file, too, some versions of Python say ValueError.
    wrong = "\nValueError: " in message and "null bytes" not in message
    if isinstance(error, flags.Error) and wrong:
        return f"{file}: {message.partition('ValueError: ')[2]}"
    return f"{message}\nSee --help."


def no_such_file(file: pathlib.Path, words: str) -> str:
    """Which config may be meant, and which there are in that directory."""
    there = sorted(
        path.stem
        for path in file.parent.glob("*.py")
        if "def get_config(" in path.read_text(encoding="utf-8", errors="replace")
    )
    if not there:
        return (
            f"No such file: {file} in {os.getcwd()}. The configs lie in a clone of fdnf"
            " and are not installed with it: run from there, or give the whole path"
        )
    meant = _of_student(file.stem, words)
    if meant.partition(".")[0] in there:
        return (
            f"No such file: {file}; students are words of their teacher's config: "
            f"--config={file.parent / meant}"
        )
    near = difflib.get_close_matches(file.stem, there, 1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"No such file: {file}{hint} {file.parent} has {', '.join(there)}"


def _of_student(stem: str, words: str) -> str:
    """The file and words of a student whose own file was named; "" for others."""
    model, _, kind = stem.rpartition("_")
    given = [word for word in words.split(",") if word]
    if kind == "distill":
        first = [] if {"lkd", "ilkd", "skd"} & {*given} else ["ilkd"]
    elif kind == "pdd":
        model = model.replace("iaf_", "maf_")
        first = [] if "resnet" in words else ["iaf"]
        given = [part for w in given for part in w.split("_")]
    elif kind == "student":
        first = ["student"]
        given = [w.removeprefix("srflow_student").strip("_") for w in given]
    else:
        return ""
    return f"{model}.py:{','.join(word for word in (*first, *given) if word)}"


def _fault(error: Exception, file: str) -> str:
    """The first thing wrong with a command line, or in its config file."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    foreign = (
        f"{file} is no config file: expected a function get_config(arg), such as those "
        "in configs/, that returns an ml_collections.ConfigDict"
    )
    if isinstance(error, ModuleNotFoundError) and error.name == "configs":
        return (
            f"{file} imports `configs`, which lies in a clone of fdnf and is not"
            " installed with it: run from the clone, or set PYTHONPATH to it"
        )
    message = str(inner.args[0] if isinstance(inner, KeyError) else inner)
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    if "'get_config'" in message or "'to_dict'" in message:
        return foreign
    if "config=None" in message and file:
        return f"{foreign}; it returns None"
    if isinstance(error, flags.Error | OSError | ConfigError):
        # An error inside a config file comes with its traceback; the last line says it.
        message, found, trace = message.partition("Traceback (most recent call last):")
        return (
            message.strip() + "\n" + trace.strip().splitlines()[-1]
            if found
            else message
        )
    inside = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if file and os.path.abspath(frame.filename) == os.path.abspath(file)
    ]
    if inside:
        return f"{file}, line {inside[-1].lineno}: {type(error).__name__}: {message}"
    if isinstance(error, AttributeError | KeyError):
        return f"an override names an unknown config key: {message}"
    raise error


def _unknown(message: str, argv: Sequence[str]) -> str:
    """Of a key that an override names, and the config lacks: which are known."""
    named = [word.lstrip("-").partition("=")[0] for word in argv]
    for key in named:
        parts = key.removeprefix("config.").split(".")
        if key.startswith("config.") and any(repr(part) in message for part in parts):
            return faults.unknown(".".join(parts))
    return message
