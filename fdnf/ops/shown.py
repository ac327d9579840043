"""What `help`, `dir` and completion show of a model's class."""

import abc
import inspect

import flax.linen as nn

# Of Flax, and of Python, what a user calls.
_CALLED = ("__call__", "init", "apply")
# Beside those that Flax's class has: what it puts into each class of its own.
_PLUMBING = ("name", "parent", "scope", "setup")


class Shown(abc.ABCMeta):
    """Classes of Flax modules of which only what a user calls or sets is shown.

    Otherwise a thousand lines of Flax stand in the help of a flow, and two arguments
    for its inside in the signature. All is there all the same. A class that mixes in
    `abc.ABC` or a protocol is made as ever.
    """

    def __dir__(cls) -> list[str]:
        """The names of a class without those for Python and Flax."""
        hidden = {*vars(nn.Module), *vars(object), *_PLUMBING}.difference(_CALLED)
        plain = (name for name in super().__dir__() if name not in hidden)
        return [n for n in plain if n in _CALLED or not n.startswith("__")]

    @property
    def __signature__(cls) -> inspect.Signature:
        """The attributes that a model is made with."""
        given = inspect.signature(cls.__init__).parameters.values()
        own = [each for each in given if each.name not in ("self", "parent", "name")]
        return inspect.Signature(own)
