"""What a value of a config may be: what is expected, in words, and whether it fits."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

# Widths, depths and counts of layers; rows of a batch; rows that are drawn.
SIZE, ROWS, MOST = 2**16, 2**24, 10**8


class Rule(NamedTuple):
    """What a value may be.

    Attributes:
      expected: in words, to stand after "expected".
      fits: whether a value is so.
    """

    expected: str
    fits: Callable[[Any], bool]


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
        f"{rule.expected}, or None", lambda value: value is None or rule.fits(value)
    )


def besides(rule: Rule, more: str, holds: Callable[[Any], bool]) -> Rule:
    """The same, of which something more holds."""
    return Rule(
        f"{rule.expected}, {more}", lambda value: rule.fits(value) and holds(value)
    )


# Keys of random numbers have 32 bits: another seed would be that of one of these.
SEEDS = 2**32
SEED = whole(0, SEEDS - 1)


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _hashable(value: Any) -> bool:
    return not isinstance(value, dict | list | set)


def _printable(value: str) -> bool:
    return value.isprintable()
