"""From a name and attributes in a config to an object of a visible table."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

Built = TypeVar("Built")

# Attributes that may be given as a list, and are made a tuple by `make_hashable`.
Ints = tuple[int, ...] | list[int]


def build(table: Mapping[str, type[Built]], config: Any) -> Built:
    """The object of `table[config.name]` with the attributes of `config.args`.

    Args:
      table: name to a Flax module or another dataclass.
      config: `name`, and `args`, a mapping of attributes.

    Raises:
      ValueError: for an unknown name or attribute, with the known ones.
    """
    if config.name not in table:
        raise ValueError(f"unknown model.name {config.name!r}; known: {sorted(table)}")
    kind: Any = table[config.name]
    known = {f.name for f in dataclasses.fields(kind)} - {"parent", "name"}
    args = dict(config.args)
    unknown = sorted(set(args) - known)
    if unknown:
        raise ValueError(
            f"model.args has {unknown}, which {kind.__name__} does not know; "
            f"it knows {sorted(known)}"
        )
    # JSON, from which saved configs are read back, has lists where hashable
    # attributes need tuples.
    given = {name: tuples(value) for name, value in args.items()}
    # What is written as a whole number may be a real one, and is the same module then.
    real = {f.name for f in dataclasses.fields(kind) if f.type is float}
    given |= {k: float(v) for k, v in given.items() if k in real and type(v) is int}
    return kind(**given)


def make_hashable(module: Any) -> None:
    """Makes tuples of a dataclass's attributes that are lists.

    For `__post_init__`: losses take flows as static arguments, which are hashed, and
    `hidden=[32, 32]` should be as good as a tuple.
    """
    for field in dataclasses.fields(module):
        value = getattr(module, field.name, None)
        if isinstance(value, list):
            setattr(module, field.name, tuples(value))


def tuples(value: Any) -> Any:
    """The value with lists as tuples, which can be hashed; other values as they are."""
    if isinstance(value, (list, tuple)):
        return tuple(tuples(item) for item in value)
    return value
