"""What enters a model from outside, attributes and arguments: looked at and cast.

That happens once, where it enters. Of arguments only shapes and dtypes are looked at,
which are static, so that nothing here is left in a compiled program, and the functions
work under `jit`, `vmap`, `grad` and `eval_shape`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fdnf.ops import conditions, latents
from fdnf.ops.shown import Shown

Given = Any
Latents = tuple[Array, ...]
Events = Float[Array, "batch *event"]
Context = Float[Array, "batch *context"]
Temperature = latents.Temperature

# The number of rows may be a symbol, of an exported program for any number.
Shape = tuple[Any, ...]
# None stands for a side of any length.
Free = tuple[int | None, ...]


class Made(NamedTuple):
    """What a model was made with, as the shapes of its parameters tell.

    Attributes:
      event: shape of one example; a number for a model that takes events of any shape
        with that many entries.
      cond: shape of one row's condition; None for a model made without.
    """

    event: Free | int
    cond: Free | None


class Model(nn.Module, metaclass=Shown):
    """A flow or a feed-forward student, as far as it looks at what enters.

    Data, latents and conditions may be lists or arrays of any real dtype; they are cast
    to the dtype of the weights, float32 or float64, and in `init` to float32. Expected
    are a batch axis, the shapes that the model was made with, and a condition exactly
    if it was made with one: one for each row, or one for all. What it was made with,
    `_made_with` reads off the shapes of its parameters.
    """

    # Names of the axes of one example, or None for events of any shape.
    event_axes = None
    # Names of the axes of one row's condition, for each kind that it takes; none for a
    # model that takes no condition.
    condition_axes: ClassVar[tuple[tuple[str, ...], ...]] = (conditions.VECTOR,)

    def __post_init__(self):
        make_hashable(self)
        super().__post_init__()

    def _made_with(self, params: Any) -> Made | None:
        """What these parameters were made with; None for a flow that does not tell.

        A KeyError says that parameters are missing, as while they are being made.
        """
        del params
        return None

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shape of each latent for data of shape `event`; by default one, the same.

        Raises:
          ValueError: for an event that the model cannot take.
        """
        axes = self.event_axes
        if axes is not None and len(event) != len(axes):
            raise ValueError(
                f"{type(self).__name__} on events of shape {event}: expected "
                f"({', '.join(axes)}), of a batch [batch, {', '.join(axes)}]"
            )
        return (event,)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _made(self) -> Made | None:
        if self.scope is None or self.is_initializing():
            return None
        try:
            return self._made_with(self.variables.get("params", {}))
        except KeyError:
            return None

    def _compute_dtype(self) -> Any:
        variables = {} if self.scope is None else self.variables
        return dtype_of(self._name, variables)

    def _given_data(self, x: Given) -> Events:
        x = array(f"{self._name}: data", x, self._compute_dtype())
        check_data(self._name, self._made(), x.shape)
        self.latent_shapes(x.shape[1:])
        return x

    def _embedded(self, cond: Array | None) -> Array | None:
        """What the model makes of a condition before anything else; by default it."""
        return cond

    def _given_condition(self, cond: Given | None, rows: Any) -> Context | None:
        """A condition as `rows` rows, embedded; None for as many as it has.

        One for all rows, with a batch axis of 1 or without one, is given to each.
        """
        made = self._made()
        if cond is not None:
            cond = array(f"{self._name}: a condition", cond, self._compute_dtype())
            if not self.condition_axes or made is None or made.cond is not None:
                cond = conditions.one_batch(self._name, self.condition_axes, cond)
        shape = None if cond is None else cond.shape
        check_condition(self._name, made, shape, rows)
        cond = self._embedded(cond)
        if cond is None or rows is None or cond.shape[0] == rows:
            return cond
        return jnp.broadcast_to(cond, (rows, *cond.shape[1:]))

    def _given_latents(self, z: Given) -> Latents:
        z = as_latents(self._name, z, self._compute_dtype())
        shapes = [part.shape for part in z]
        check_latents(self._name, self._made(), shapes, self.latent_shapes)
        return z

    def draw(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        temperature: Temperature = 1.0,
    ) -> Latents:
        """Latents for `decode`: teacher and student given the same ones share noise.

        Args:
          key: randomness; the same latents at every temperature but for their scale.
          shape: batch and event.
          temperature: standard deviation of all latents, or one a latent, in the
            order of `latent_shapes`: those split off first, the top last.

        Raises:
          ValueError: if there are not as many temperatures as latents, or for events
            of another shape than the model was made with.
        """
        shape = tuple(shape)
        check_data(self._name, self._made(), shape)
        parts = self.latent_shapes(shape[1:])
        return latents.draw(key, shape[0], parts, temperature, self._compute_dtype())


def dtype_of(model: str, variables: Any) -> Any:
    """The dtype that a model with these variables computes in: at least float32.

    Raises:
      ValueError: for weights of half precision, in which inverses and determinants
        are not computed.
    """
    leaves = [jnp.result_type(leaf) for leaf in jax.tree.leaves(variables)]
    found = {dtype for dtype in leaves if jnp.issubdtype(dtype, jnp.inexact)}
    half = sorted(str(dtype) for dtype in found if jnp.finfo(dtype).bits < 32)
    if half:
        raise ValueError(
            f"{model} with weights of {', '.join(half)}: expected float32 (or float64) "
            "ones; cast them with jax.tree.map(lambda w: w.astype('float32'), params)"
        )
    return jnp.result_type(jnp.float32, *found)


def array(what: str, value: Given, dtype: Any) -> Array:
    """A list, or an array of any number's kind, as an array of `dtype`.

    Raises:
      ValueError: for what is not made of real numbers.
    """
    try:
        found = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} given as {type(value).__name__}: expected an array of numbers"
        ) from error
    if not jnp.isrealobj(found) or jnp.issubdtype(found.dtype, jax.dtypes.extended):
        raise ValueError(f"{what} of dtype {found.dtype}: expected real numbers")
    return found.astype(dtype)


def real(value: Given, what: str = "data") -> Array:
    """What enters a loss: at least float32, integers and half precision included."""
    found = jnp.asarray(value)
    return array(what, found, jnp.result_type(jnp.float32, found.dtype))


def maybe(cond: Given | None) -> Array | None:
    """A condition that enters a loss, if there is one, see `real`."""
    return None if cond is None else real(cond, "a condition")


def reals(z: Given) -> Latents:
    """Latents that enter a loss, see `real`."""
    if not isinstance(z, (tuple, list)):
        raise ValueError(
            f"latents of shape {jnp.shape(z)}: expected a tuple with one array a "
            "latent, (z,) for one"
        )
    return tuple(real(part, "a latent") for part in z)


def check_data(model: str, made: Made | None, shape: Shape) -> None:
    """Refuses data without a batch axis, or of another width than trained.

    Args:
      model: its name, for the message.
      made: what it was made with; None where that is not known yet.
      shape: of the data, batch first.

    Raises:
      ValueError: with what was given and expected.
    """
    event = None if made is None else made.event
    if len(shape) > 1 and (event is None or _fits(event, shape[1:])):
        return
    alone = len(shape) == 1 or (event is not None and _fits(event, shape))
    raise ValueError(
        f"{model} on data of shape {shape}: expected {_described(event)}"
        + ("; give one example as a batch of one, x[None]" if alone else "")
    )


def check_condition(
    model: str, made: Made | None, cond: Shape | None, rows: Any
) -> None:
    """Refuses a condition that is missing, too much, or of another shape than trained.

    Args:
      model: its name.
      made: what it was made with; None where that is not known yet.
      cond: shape of the condition, batch first, or None if there is none.
      rows: of the batch; None for any number.

    Raises:
      ValueError: with what was given and expected.
    """
    if cond is None:
        if made is not None and made.cond is not None:
            raise ValueError(
                f"{model} without a condition, but it was made with one: expected "
                f"cond of shape {_described(made.cond)}"
            )
        return
    if made is not None and made.cond is None:
        raise ValueError(
            f"{model} with a condition of shape {cond}, but it was made without: leave "
            "cond out, or give it to `init` too"
        )
    wanted = None if made is None else made.cond
    if (
        len(cond) < 2
        or (rows is not None and cond[0] != rows and cond[0] != 1)
        or (wanted is not None and not _fits(wanted, cond[1:]))
    ):
        batch = "batch" if rows is None else str(rows)
        raise ValueError(
            f"{model} with a condition of shape {cond}: expected "
            f"{_described(wanted, batch)}, one row for each row of the batch, or one "
            "row for all"
        )


def check_latents(
    model: str,
    made: Made | None,
    given: list[Shape],
    shapes_of: Callable[[Shape], tuple[Shape, ...]],
) -> None:
    """Refuses latents of another number, other shapes or unlike batches.

    Args:
      model: its name.
      made: what it was made with; None where that is not known yet.
      given: shapes of the latents, batch first.
      shapes_of: from the shape of an example to those of its latents.

    Raises:
      ValueError: with what was given and expected.
    """
    wanted = "each [batch, ...], of equally many rows"
    fits = (
        bool(given)
        and all(len(shape) > 1 for shape in given)
        and len({shape[0] for shape in given}) == 1
    )
    if made is not None:
        event = _event_of(made.event, [shape[1:] for shape in given])
        expected = None
        if event is not None:
            try:
                expected = shapes_of(event)
            except ValueError:
                expected = None
        fits = fits and expected == tuple(shape[1:] for shape in given)
        wanted = f"those of data of shape {_described(made.event)}"
        count = _count(made.event, shapes_of)
        if count is not None:
            wanted = f"{count}, {wanted}"
        if expected is not None:
            listed = ", ".join(_described(part) for part in expected)
            wanted += f", such as ({listed})"
    if not fits:
        raise ValueError(
            f"{model} on latents of shapes {given}: expected {wanted}; see "
            "`latent_shapes` and `draw`"
        )


def as_latents(model: str, z: Given, dtype: Any) -> tuple[Array, ...]:
    """Latents as a tuple of arrays of `dtype`.

    Raises:
      ValueError: for one array that is not in a tuple.
    """
    if not isinstance(z, (tuple, list)):
        raise ValueError(
            f"{model} on latents of shape {jnp.shape(z)}: expected a tuple with one "
            "array a latent, (z,) for one"
        )
    return tuple(array(f"{model}: a latent", part, dtype) for part in z)


def _fits(expected: Free | int, shape: Shape) -> bool:
    if isinstance(expected, int):
        return math.prod(shape) == expected
    return len(expected) == len(shape) and all(
        want is None or want == side for want, side in zip(expected, shape, strict=True)
    )


def _described(expected: Free | int | None, batch: str = "batch") -> str:
    if expected is None:
        return f"[{batch}, ...]"
    if isinstance(expected, int):
        return f"[{batch}, ...] with {expected} entries a row"
    sides = ["any" if side is None else str(side) for side in expected]
    return f"[{', '.join([batch, *sides])}]"


def _count(expected: Free | int, shapes_of: Callable) -> int | None:
    """How many latents there are, whatever the sides that are free."""
    if isinstance(expected, int):
        return 1
    side = 2**12 * 3**3 * 5 * 7
    try:
        return len(shapes_of(tuple(side if s is None else s for s in expected)))
    except ValueError:
        return None


def _event_of(expected: Free | int, parts: list[Shape]) -> Shape | None:
    """The shape of data with as many entries as the latents and the top's aspect."""
    if not parts:
        return None
    top = parts[-1]
    if isinstance(expected, int):
        return top if math.prod(top) == expected else None
    total = sum(math.prod(part) for part in parts)
    known = math.prod(side for side in expected if side is not None)
    free = sum(side is None for side in expected)
    if not free:
        return tuple(side for side in expected if side is not None)
    if total % known or len(top) != len(expected) or 0 in top:
        return None
    left = total // known
    # Sides that are free come first: of the top they are all divided by one number.
    shrunk = math.prod(top[:free])
    factor = round((left / shrunk) ** (1 / free))
    if factor**free * shrunk != left:
        return None
    sides = iter([factor * side for side in top[:free]])
    return tuple(next(sides) if side is None else side for side in expected)


Built = TypeVar("Built")

# Attributes of stored configs by their older names.
RENAMED = {"transform": "transformer"}

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
    for old, new in RENAMED.items():
        if old in args and old not in known and new in known:
            args.setdefault(new, args.pop(old))
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
    """The value with lists as tuples, mappings as dicts, however deep; others as is."""
    if hasattr(value, "items"):  # A ConfigDict is no Mapping.
        return {key: tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(tuples(item) for item in value)
    return value
