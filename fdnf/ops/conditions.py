"""Conditions: which kinds there are, and one for many rows."""

from jaxtyping import Array

# Names of the axes of one row's condition.
VECTOR = ("features",)
IMAGE = ("height", "width", "channels")
FRAMES = ("frames", "features")


def one_batch(model: str, kinds: tuple[tuple[str, ...], ...], cond: Array) -> Array:
    """The condition with a batch axis, of one if it was given for one example.

    Args:
      model: its name.
      kinds: names of the axes of one row's condition, for each kind that it takes.
      cond: the condition.

    Raises:
      ValueError: for a model that takes none, or other axes than those of its kinds.
    """
    if not kinds:
        raise ValueError(
            f"{model} takes no condition: leave cond (of a config, data.conditional) "
            "out, or take a flow that takes one, such as glow or maf"
        )
    axes = {len(kind) for kind in kinds}
    if cond.ndim - 1 in axes:
        return cond
    if cond.ndim in axes:
        return cond[None]
    wanted = " or ".join(f"[batch, {', '.join(kind)}]" for kind in kinds)
    raise ValueError(
        f"{model} with a condition of shape {cond.shape}: expected {wanted}"
    )
