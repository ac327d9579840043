"""What a value of a config may be: what is expected, in words, and whether it fits.

A key is such a rule, what it means, and a default; their table is in `keys`.
What `model.args` and `data.args` may hold is read off models and data sets. Their names
and whether there is one value, several or None stand in the signatures; here is what
each number, text or choice in them may be.
"""

import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fdnf.bijectors import coupling, pixel_affine, residual, transformers
from fdnf.bijectors import token_autoregressive as tokens
from fdnf.data import build as datasets
from fdnf.data import own_images, tables
from fdnf.data.images import Images
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import DataError, Tabular
from fdnf.flows import affine, continuous, maf, realnvp
from fdnf.flows import build as flows
from fdnf.nets import conv, mlp
from fdnf.ops import autoregressive_inverse, conditioners
from fdnf.students import build as students

# Widths, depths and counts of layers; rows of a batch; rows that are drawn.
SIZE, ROWS, MOST = 2**16, 2**24, 10**8


class ConfigError(ValueError):
    """A config that cannot work; the text says which key and what to write."""


class Rule(NamedTuple):
    """What a value may be.

    Attributes:
      expected: in words, to stand after "expected".
      fits: whether a value is so.
      why: more of what is wrong with one that is not, "" for nothing.
    """

    expected: str
    fits: Callable[[Any], bool]
    why: Callable[[Any], str] = lambda value: ""


ANY = Rule("anything", lambda value: True)


def whole(least: int, most: int = MOST) -> Rule:
    """A whole number."""

    def fits(value: Any) -> bool:
        return _is(value, int) and least <= value <= most

    return Rule(f"a whole number from {least} to {most:,}", fits)


def number(
    least: float | int = -math.inf,
    most: float | int = math.inf,
    *,
    above: float | int = -math.inf,
    below: float | int = math.inf,
) -> Rule:
    """A finite number, bounds included (least, most) or not (above, below)."""

    def fits(value: Any) -> bool:
        if not _is(value, int | float) or not math.isfinite(value):
            return False
        return least <= value <= most and above < value < below

    words = [
        f"{word} {bound:g}"
        for word, bound in (
            ("from", least),
            ("above", above),
            ("to" if least > -math.inf else "at most", most),
            ("below", below),
        )
        if math.isfinite(bound)
    ]
    return Rule(" ".join(["a finite number", *words]), fits)


def one_of(words: Iterable[Any]) -> Rule:
    """One of some words."""
    known = tuple(words)
    said = ", ".join(repr(word) for word in known)
    return Rule(f"one of {said}", lambda value: _hashable(value) and value in known)


def text() -> Rule:
    """Any text of one line."""
    return Rule("text of one line", lambda value: _is(value, str) and _printable(value))


def name(least: int = 0) -> Rule:
    """A name that is a directory's too: no way up or down from where it stands.

    Args:
      least: letters it has at least.
    """

    def fits(value: Any) -> bool:
        if not _is(value, str) or not least <= len(value) <= 100:
            return False
        plain = _printable(value) and not set(value) & set("/\\")
        return plain and value == value.strip() and value not in (".", "..")

    empty = "" if least else ", or nothing"
    return Rule(
        f"a name of at most 100 letters without slashes and line breaks{empty}", fits
    )


def yes_no() -> Rule:
    """A bool."""
    return Rule("True or False", lambda value: isinstance(value, bool))


def several(rule: Rule, least: int = 1, length: int | None = None) -> Rule:
    """A tuple; of a certain length, or of at least so many."""

    def fits(value: Any) -> bool:
        if not isinstance(value, tuple | list):
            return False
        enough = len(value) >= least if length is None else len(value) == length
        return enough and all(map(rule.fits, value))

    count = f"at least {least}" if length is None else str(length)
    if length is None and not least:
        count = "any number"
    return Rule(f"a tuple of {count}, each {rule.expected}", fits)


def either(*rules: Rule) -> Rule:
    """What fits one of the rules."""
    return Rule(
        ", or ".join(rule.expected for rule in rules),
        lambda value: any(rule.fits(value) for rule in rules),
    )


def optional(rule: Rule) -> Rule:
    """The same, or None."""
    return Rule(
        f"{rule.expected}, or None",
        lambda value: value is None or rule.fits(value),
        rule.why,
    )


def besides(rule: Rule, more: str, holds: Callable[[Any], bool]) -> Rule:
    """The same, of which something more holds."""
    return Rule(
        f"{rule.expected}, {more}", lambda value: rule.fits(value) and holds(value)
    )


OWN = Rule(
    "package.module:function of your own",
    lambda value: _is(value, str) and bool(re.fullmatch(r"[\w.]+:[\w.]+", value)),
)
# Keys of random numbers have 32 bits: another seed would be that of one of these.
SEEDS = 2**32
SEED = whole(0, SEEDS - 1)


# What a key has for a default that has to be there, and whom one may do without.
NONE: Any = object()
NOBODY = ()


class Key(NamedTuple):
    """A key of a config.

    Attributes:
      rule: what it may be.
      meaning: one line.
      default: what a stored config without it is taken to mean; NONE for what has to
        be there.
      needed: values of loss.method for which it has to be there; None of all.
    """

    rule: Rule
    meaning: str
    default: Any = NONE
    needed: tuple[str, ...] | None = None


def spare(rule: Rule, meaning: str, default: Any = None) -> Key:
    """A key that may be left out."""
    return Key(rule, meaning, default, NOBODY)


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _hashable(value: Any) -> bool:
    return not isinstance(value, dict | list | set)


def _printable(value: str) -> bool:
    return value.isprintable()


def _has_names(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is(key, str) for key in value)


def _not_made(make: Callable[[Any], Any], value: Any) -> str:
    """What is said where a value makes nothing; "" where it does."""
    try:
        make(value)
    except (TypeError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


_SIZE = whole(1, SIZE)
_POSITIVE = number(above=0)
_METHODS = one_of(autoregressive_inverse.METHODS)
_PIXEL_METHODS = one_of(pixel_affine.METHODS)
_TOKEN_METHODS = one_of(tokens.METHODS)
_TRANSFORMER = Rule(
    f"one of {', '.join(coupling.COUPLED)}, or a mapping with one of them as name, "
    "and its settings",
    lambda value: not _not_made(transformers.make, value),
    lambda value: _not_made(transformers.make, value),
)
# By attribute, or model and attribute; what is not here goes by its type.
ATTRIBUTES: dict[str, Rule] = {
    "activation": one_of(conditioners.ACTIVATIONS),
    "iresnet.activation": one_of(residual.ACTIVATIONS),
    "iresnet_multiscale.activation": one_of(residual.ACTIVATIONS),
    "bound": _POSITIVE,
    "centre": number(),
    "continuous.log_det": one_of(continuous.LOG_DETS),
    "dtype": one_of(conv.DTYPES),
    "floor": number(0, below=1),
    "inverse": _METHODS,
    "pixelcnn.inverse": _PIXEL_METHODS,
    "pixelcnn_iaf.inverse": _PIXEL_METHODS,
    "marginal": optional(_TRANSFORMER),
    "mixing": one_of(maf.MIXING),
    "output_scale": number(0),
    "resnet.squeezes": whole(0, 16),
    "srflow.taps": whole(0, SIZE),
    "srflow_student.taps": whole(0, SIZE),
    "solver": one_of(continuous.SOLVERS),
    "start": one_of(affine.STARTS),
    "step": _POSITIVE,
    "tolerance": _POSITIVE,
    "conditioner": one_of(mlp.CONDITIONERS),
    "partition": one_of(realnvp.PARTITIONS),
    "prediction": whole(0, SIZE),
    "realnvp.mixing": one_of(realnvp.MIXINGS),
    "tarflow.inverse": _TOKEN_METHODS,
    "tarflow_iaf.inverse": _TOKEN_METHODS,
    "transformer": _TRANSFORMER,
    "transitions": whole(0, SIZE),
}
_COLUMN = either(text(), whole(0))
# By argument of a data set, likewise.
ARGUMENTS: dict[str, Rule] = {
    "levels": whole(2, 256),
    "rate": whole(1, 10**6),
    "rows": whole(1),
    "segment": whole(1, 2**24),
    "seed": SEED,
    "fit": one_of(own_images.FITS),
    "fractions": number(above=0, below=1),
    **dict.fromkeys(("columns", "conditions", "weights", "split"), _COLUMN),
    # Its own errors name the columns.
    "transforms": Rule("kinds by column: {'income': 'log'}", _has_names),
    "missing": one_of(tables.MISSING),
    # Those of which there are pictures.
    "channels": one_of((1, 3)),
    # Made anew at every start.
    "synthetic_images.size": whole(1, 2**10),
    "synthetic.dim": whole(1, 2**12),
}
MODELS: Mapping[str, Any] = {**flows.FLOWS, **students.STUDENTS}
_BY_TYPE = {int: _SIZE, float: _POSITIVE, str: text(), bool: yes_no()}
_KIND_OF = {
    Tabular: "vectors",
    Images: "images",
    Pairs: "super_resolution",
    Clips: "speech",
}


def kind_of(data: str) -> str | None:
    """The kind of a data set, a key of KINDS; None for an unknown one."""
    try:
        found = datasets.find(data)
    except DataError:
        return None
    return _KIND_OF[typing.get_type_hints(found)["return"]]


@functools.cache
def of_model(model: str) -> Mapping[str, Rule]:
    """The attributes of a flow or student by name, as `model.args` gives them."""
    return {
        field.name: _typed(field.type, _rule(ATTRIBUTES, model, field.name))
        for field in dataclasses.fields(MODELS[model])
        if field.name not in ("parent", "name")
    }


def attributes(model: str) -> dict[str, Any]:
    """What the attributes of a flow or student are where they are left out."""
    if model not in MODELS:
        return {}
    return {
        field.name: field.default
        for field in dataclasses.fields(MODELS[model])
        if field.name not in ("parent", "name")
        and field.default is not dataclasses.MISSING
    }


def of_data(data: str) -> dict[str, tuple[Rule, bool]]:
    """The arguments of a data set by name, and which have to be given."""
    parameters = inspect.signature(datasets.find(data)).parameters
    if data not in datasets.DATASETS:  # Of a user's own, which checks them itself.
        return {k: (ANY, p.default is p.empty) for k, p in parameters.items()}
    return {
        key: (
            _typed(parameter.annotation, _rule(ARGUMENTS, data, key)),
            parameter.default is parameter.empty,
        )
        for key, parameter in parameters.items()
    }


def defaults(data: str) -> dict[str, Any]:
    """The arguments of a data set that may be left out, and what they are then."""
    if kind_of(data) is None:
        return {}
    parameters = inspect.signature(datasets.find(data)).parameters
    return {
        key: parameter.default
        for key, parameter in parameters.items()
        if parameter.default is not parameter.empty
    }


def _rule(table: Mapping[str, Rule], owner: str, attribute: str) -> Rule | None:
    return table.get(f"{owner}.{attribute}", table.get(attribute))


def _typed(annotation: Any, rule: Rule | None) -> Rule:
    """A rule of one number (text, bool) as one of what the annotation says."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        # Lists stand beside tuples, and are told by the same rule.
        alone = [each for each in inner if typing.get_origin(each) is not list]
        told = [_typed(each, rule) for each in alone if each is not type(None)]
        told = list(dict.fromkeys(told))
        found = told[0] if len(told) == 1 else either(*told)
        return optional(found) if type(None) in inner else found
    if origin is tuple:
        return several(_typed(inner[0], rule))
    return rule or _BY_TYPE[annotation]
