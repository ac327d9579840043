"""Conditions: which kinds there are, one for many rows, images in other sizes."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from fdnf.ops import squeeze

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


def fitted(cond: Array, height: int, width: int) -> Array:
    """Images of a condition in another height and width.

    Larger ones are squeezed, which trades each factor of 2 for 4 times the channels and
    loses nothing; of smaller ones each pixel is repeated.

    Raises:
      ValueError: if the sizes differ by other than one power of 2.
    """
    times = _halvings(cond.shape, (height, width))
    for _ in range(times):
        cond = squeeze.squeeze(cond)
    for axis in (1, 2):
        cond = jnp.repeat(cond, 2 ** max(-times, 0), axis=axis)
    return cond


def check_images(
    model: str,
    cond: tuple[int, ...],
    sides: Sequence[tuple[int, int]],
    made: Sequence[int] | None,
) -> None:
    """Refuses images that do not fit all sizes that a model works on.

    Those of the size of the last level are the smallest: what is smaller still would be
    taken for them.

    Args:
      model: its name.
      cond: shape of the condition.
      sides: height and width of each level, the largest first.
      made: channels that each level's networks were made for; None where that is not
        known yet.

    Raises:
      ValueError: with what was given and expected.
    """
    try:
        times = [_halvings(cond, each) for each in sides]
    except ValueError as error:
        raise ValueError(f"{model}: {error}") from error
    if times[-1] < 0:
        raise ValueError(
            f"{model} with a condition of shape {cond}: expected images of at least "
            f"{sides[-1]}, which is what its last level works on; enlarge them"
        )
    found = [cond[-1] * 4 ** max(each, 0) for each in times]
    if made is not None and found != list(made):
        raise ValueError(
            f"{model} with a condition of shape {cond}, which has {found} channels in "
            f"the sizes {list(sides)} of its levels: expected {list(made)}, which it "
            "was made with"
        )


def _halvings(cond: tuple[int, ...], sides: tuple[int, int]) -> int:
    """How often images are halved to have these sides; below 0, doubled."""
    found = [
        (given // side).bit_length() - 1
        if given >= side
        else 1 - (side // max(given, 1)).bit_length()
        for given, side in zip(cond[1:3], sides, strict=True)
    ]
    fits = all(
        given * 2 ** max(-times, 0) == side * 2 ** max(times, 0)
        for given, side, times in zip(cond[1:3], sides, found, strict=True)
    )
    if not fits or found[0] != found[1]:
        raise ValueError(
            f"a condition of shape {cond} beside images of {tuple(sides)}: expected "
            "images of that height and width, times or by one power of 2"
        )
    return found[0]
