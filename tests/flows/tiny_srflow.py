"""The smallest SRFlow that has every part, and one that takes vectors as condition."""

from fdnf.flows.srflow import SRFlow

# Three levels, the first one split. What is a loop compiles as fast at any length.
SIZES = {
    "steps": 2,
    "transitions": 1,
    "hidden": 4,
    "features": 4,
    "blocks": 2,
    "growth": 2,
    "rdbs": 1,
    "convs": 1,
    "taps": (0,),
}


# One block, and no opening steps, which have no coupling.
LEAST = {**SIZES, "steps": 1, "transitions": 0, "blocks": 1}


class OfVectors(SRFlow):
    """An SRFlow whose low-resolution images are square, grey and told as vectors."""

    def maps(self, cond):
        side = round(cond.shape[-1] ** 0.5)
        return super().maps(cond.reshape(-1, side, side, 1))
