"""What is trained: a flow, or a feed-forward student."""

from typing import Any

from jaxtyping import Array

from fdnf.flows import build as flows
from fdnf.flows.base import FlowModule
from fdnf.students import build as students
from fdnf.students.base import Student

Model = FlowModule | Student


def build(config: Any) -> Model:
    """The flow or student that `config.name` and `config.args` describe.

    Raises:
      ValueError: for an unknown name or attribute, with the known ones.
    """
    if config.name in students.STUDENTS:
        return students.build(config)
    if config.name in flows.FLOWS:
        return flows.build(config)
    raise ValueError(
        f"unknown model.name {config.name!r}; known: flows {sorted(flows.FLOWS)}, and "
        f"students without a density {sorted(students.STUDENTS)}"
    )


def init(
    model: Model, key: Array, x: Array, cond: Array | None = None, taken: Any = None
) -> Any:
    """The model's first variables from a batch of data, see `start`."""
    return start(model, key, x, cond, taken)[1]


def start(
    model: Model, key: Array, x: Array, cond: Array | None = None, taken: Any = None
) -> tuple[Any, Any]:
    """What a model makes of a first batch, and its variables from that batch.

    A student takes its statistics from latents of the prior, which it will see.

    Args:
      model: the flow or student.
      key: randomness.
      x: the batch.
      cond: its condition.
      taken: subtrees of the variables that are given, as
        `{"params": {"encoder": ...}}`; what depends on data depends on them.
    """
    given = model.draw(key, x.shape) if isinstance(model, Student) else x
    if not taken:
        return model.init_with_output(key, given, cond)
    result, made = model.apply(
        taken, given, cond, mutable=["params", "constants"], rngs={"params": key}
    )
    return result, {**taken, **made}
