"""Sweeps by name, and the arguments of their functions from a command line."""

import ast
import importlib
import importlib.util
import inspect
import pathlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from launch import points
from launch.points import SweepError

_FOLDER = pathlib.Path(__file__).parent / "sweeps"
_BOOLS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def known() -> list[str]:
    """Names of the sweeps that come with the project."""
    return sorted(path.stem for path in _FOLDER.glob("[!_]*.py"))


def load(sweep: str) -> tuple[str, Callable[..., Any], str]:
    """A sweep's name, its function and what its file says of itself.

    Args:
      sweep: name of a file in launch/sweeps, or a path ending in .py.

    Raises:
      SweepError: there is none, or it has no function `points`.
    """
    module = _import(sweep)
    function = getattr(module, "points", None)
    if not callable(function):
        raise SweepError(f"{module.__file__} has no function `points`: expected one")
    name = pathlib.Path(sweep).stem
    return name, function, inspect.getdoc(module) or ""


def bind(name: str, function: Callable[..., Any], given: Sequence[str]) -> dict:
    """All arguments of a sweep, those given as KEY=VALUE in place of the defaults.

    A value is read as what the default is: numbers, texts, yes or no, or several of
    them with commas.

    Raises:
      SweepError: for a key that the sweep does not have, or a value of another kind.
    """
    parameters = inspect.signature(function).parameters
    told = describe(function)
    arguments = {key: parameter.default for key, parameter in parameters.items()}
    for item in given:
        key, equals, text = item.partition("=")
        if not equals or key not in parameters:
            raise SweepError(f"--set {item}: {name} takes {told}")
        try:
            arguments[key] = _read(text, parameters[key].default)
        except (ValueError, SyntaxError, KeyError):
            raise SweepError(
                f"--set {item}: expected a value such as "
                f"{_shown(parameters[key].default)}"
            ) from None
    absent = [k for k, v in arguments.items() if v is inspect.Parameter.empty]
    if absent:
        raise SweepError(f"{name} needs --set {absent[0]}=...; it takes {told}")
    return arguments


def describe(function: Callable[..., Any]) -> str:
    """The arguments of a sweep and their defaults, as `--set` takes them."""
    return ", ".join(
        key
        if parameter.default is inspect.Parameter.empty
        else f"{key}={_shown(parameter.default)}"
        for key, parameter in inspect.signature(function).parameters.items()
    )


def overrides(given: Sequence[str]) -> dict[str, Any]:
    """Overrides of the config from KEY=VALUE; values are read as Python, else as text.

    Raises:
      SweepError: for text without an equals sign.
    """
    found = {}
    for item in given:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise SweepError(f"--override {item}: expected KEY=VALUE")
        try:
            found[key] = points.plain(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            found[key] = text
    return found


def _import(sweep: str) -> ModuleType:
    if sweep in known():
        return importlib.import_module(f"launch.sweeps.{sweep}")
    path = pathlib.Path(sweep)
    if path.suffix != ".py" or not path.is_file():
        raise SweepError(
            f"no sweep {sweep!r}: known are {', '.join(known())}, or give the path of "
            "a .py file with a function `points`"
        )
    spec = importlib.util.spec_from_file_location(f"sweep_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read(text: str, like: Any) -> Any:
    if isinstance(like, tuple):
        example = like[0] if like else ""
        return tuple(_read(part, example) for part in text.split(",") if part)
    if isinstance(like, bool):
        return _BOOLS[text.lower()]
    if isinstance(like, int | float | str):
        return type(like)(text)
    return ast.literal_eval(text)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
